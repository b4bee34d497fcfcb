"""Every record, file, graph and page says of which version of the interpretation it is.

Versions are neither compared nor mixed.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import fxscope
from fxscope.analysis import Energy, fgsm, layer_contributions, pixel_discussion, pixel_votes, residual_share
from fxscope.analysis.contributions import Contributions
from fxscope.errors import FxscopeError, OtherInterpretation
from fxscope.export.version import version_of
from fxscope.graph import interpretation
from fxscope.graph.interpretation import CHANGES, FILE_KEY, KEY, VERSION, of, together
from fxscope.linop import SVD
from fxscope.linop.filters import Filters


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2, 3)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def lin():
    torch.manual_seed(0)
    return fxscope.interpret(Net().double().eval(), torch.randn(1, 1, 6, 5, dtype=torch.float64))


def first_version(path, kind):
    """The file as a release without versions would have written it."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()[f"fxscope.{kind}"])
    del header["origin"][KEY]
    save_file(load_file(path), path, {f"fxscope.{kind}": json.dumps(header)})


def test_the_version_is_the_last_of_the_table():
    assert list(CHANGES) == list(range(1, VERSION + 1)) and all(CHANGES.values())
    assert of({}) == of({"origin": {}}) == 1 and of({KEY: 3}) == of({"origin": {KEY: 3}}) == 3


def test_every_record_carries_it(lin):
    records = [
        lin.F.svd(2),
        lin.F.spectrum(2, 3, progress=False),
        lin.F.filters(rows=[0], progress=False),
        lin.contributions(1),
        fxscope.local_row(torch.nn.Conv2d(1, 1, 3), torch.rand(1, 1, 6, 5), (0, 1, 1)),
        fxscope.local_column(torch.nn.Conv2d(1, 1, 3), torch.rand(1, 1, 6, 5), (0, 1, 1)),
        fxscope.storage(lin.model, (1, 1, 6, 5)),
        fxscope.compare(lin.x0, ["freeze"], at=0, model=lin.model).readings[0],
        fxscope.verify(lin.model, lin.x0),
        pixel_discussion(lin, [0], progress=False),
        pixel_votes(lin, progress=False),
        layer_contributions(lin.model, lin.x0, progress=False),
        residual_share(lin.model, [("a", lin.x0)], progress=False),
        fgsm(lin.model, torch.rand(1, 1, 6, 5, dtype=torch.float64)),
        fxscope.summary(fxscope.transform(lin.model)),
    ]
    for record in records:
        assert of(record) == record.interpretation == VERSION, record
        if hasattr(record, "to_json"):
            assert json.loads(record.to_json())[KEY] == VERSION, record
    assert (
        json.loads(fxscope.compare(lin.x0, ["freeze"], at=0, model=lin.model).to_json())["readings"][0][KEY]
        == VERSION
    )
    assert (2 * lin.F).origin()[KEY] == lin.F.origin()[KEY] == VERSION


@pytest.mark.parametrize(
    "form", ["pair", "filter", "residual", "adjoint", "row", "argmax", "record", "replay", "pullback"]
)
def test_every_graph_carries_it(lin, form):
    assert fxscope.transform(lin.model, form).meta["fxscope"][KEY] == VERSION


def test_records_of_files_keep_theirs(lin, tmp_path):
    for record, kind, load in (
        (lin.F.svd(2), "svd", SVD.load),
        (lin.F.filters(rows=[0], progress=False), "filters", Filters.load),
        (lin.contributions(1), "contributions", Contributions.load),
    ):
        path = record.save(tmp_path / f"{kind}.safetensors")
        assert load(path).interpretation == VERSION
        first_version(path, kind)
        old = load(path)
        assert of(old) == old.interpretation == json.loads(old.to_json())[KEY] == 1, (
            "without a version it is of the first"
        )
        assert load(old.save(tmp_path / "again.safetensors")).interpretation == 1, (
            "and saving it again does not make it newer"
        )


def test_a_decomposition_of_another_version_is_not_gone_on_from(lin, tmp_path):
    path = lin.F.svd(2, "lanczos").save(tmp_path / "svd.safetensors")
    assert len(lin.F.svd(3, "lanczos", start=SVD.load(path))) == 3
    first_version(path, "svd")
    with pytest.raises(
        OtherInterpretation,
        match="start= is of version 1 .* this is version 2.*docs/interpretations.md.*without start=",
    ):
        lin.F.svd(3, "lanczos", start=SVD.load(path))


def test_a_state_of_residual_shares_of_another_version_is_not_gone_on_from(lin, tmp_path):
    state, images = tmp_path / "state.json", [("a", lin.x0)]
    first = residual_share(lin.model, images, state, progress=False)
    kept = json.loads(state.read_text())
    assert kept.pop(KEY) == VERSION and residual_share(lin.model, images, state, progress=False) == first
    for old in (kept, {KEY: VERSION + 1, **kept}, {}):
        state.write_text(json.dumps(old))
        with pytest.raises(OtherInterpretation, match="state.json.*give another file"):
            residual_share(lin.model, images, state, progress=False)
        assert json.loads(state.read_text()) == old, "and the file is as it was"
    state.write_text("[]")
    with pytest.raises(FxscopeError, match="list"):
        residual_share(lin.model, images, state, progress=False)


def test_versions_are_not_compared(lin):
    from fxscope.plot.analysis import energies

    new = Energy(torch.linspace(0, 1, 4))
    old = dataclasses.replace(new, interpretation=1)
    with pytest.raises(OtherInterpretation, match="versions 1 and 2"):
        energies({"new": new, "old": old})
    found = fxscope.compare(lin.x0, ["freeze", "taylor"], at=0, model=lin.model)
    readings = (found.readings[0], dataclasses.replace(found.readings[1], interpretation=1))
    with pytest.raises(OtherInterpretation, match="not comparable"):
        dataclasses.replace(found, readings=readings)
    together([{KEY: 1}, {}], "two of the first version")
    with pytest.raises(OtherInterpretation):
        together([lin.F.svd(1), {}], "two versions")


@pytest.mark.turns(3, 1)
@pytest.mark.parametrize("name", ["pair.pt2", "pair.ts", "pair.onnx"])
def test_saved_graphs_carry_it(lin, name, tmp_path, monkeypatch):
    model = Net().eval()
    x0, path = torch.randn(1, 1, 6, 5), tmp_path / name
    fxscope.save(fxscope.transform(model), path, (x0, x0))
    form = path.suffix[1:]
    assert version_of(path, form) == VERSION and fxscope.check_saved(path, model, x0).ok
    monkeypatch.setattr(interpretation, "VERSION", VERSION + 1)
    with pytest.raises(OtherInterpretation, match="save the graph again"):
        fxscope.check_saved(path, model, x0)


def test_saved_graphs_without_one_are_of_the_first(tmp_path):
    model, x0 = Net().eval(), torch.randn(1, 1, 6, 5)
    torch.export.save(torch.export.export(fxscope.transform(model), (x0, x0)), tmp_path / "old.pt2")
    torch.jit.save(torch.jit.script(fxscope.transform(model)), tmp_path / "old.ts")
    for name in ("old.pt2", "old.ts"):
        assert version_of(tmp_path / name, name[-3:].strip(".")) == 1
        with pytest.raises(OtherInterpretation, match="version 1"):
            fxscope.check_saved(tmp_path / name, model, x0)
    (tmp_path / "none.pt2").write_bytes(b"nothing")
    with pytest.raises(FxscopeError, match="no saved graph"):
        version_of(tmp_path / "none.pt2", "pt2")
    assert FILE_KEY == "fxscope.interpretation"


def test_pages_carry_it_and_chapters_of_another_are_made_anew(tmp_path, monkeypatch):
    from fxscope.paper.tour import page
    from fxscope.paper.tour.page import Chapter, Page

    made = []
    chapters = {"one": lambda: made.append(1) or Chapter("One")}
    for _ in range(2):
        written = Page(tmp_path, "A page", "", "key").write(chapters, progress=False)
    assert len(made) == 1 and f"Version {VERSION} of the interpretation" in written.page.read_text()
    assert (
        json.loads((tmp_path / "numbers.json").read_text())[KEY]
        == json.loads((tmp_path / "chapters" / "one.json").read_text())[KEY]
        == VERSION
    )
    monkeypatch.setattr(page, "VERSION", VERSION + 1)
    Page(tmp_path, "A page", "", "key").write(chapters, progress=False)
    assert len(made) == 2


def test_lines_of_conformance_carry_it_and_old_ones_are_measured_again(tmp_path, monkeypatch):
    from fxscope.testing.conformance import __main__ as conformance
    from fxscope.testing.conformance.table import write_docs

    measured = []
    monkeypatch.setattr(
        conformance,
        "measure_in_subprocess",
        lambda suite, name, exports, limit: measured.append(name) or {"status": "REASON", "seconds": 0.0},
    )
    folder = tmp_path / "conformance"
    path = folder / "torchvision.jsonl"
    conformance.main(["--suite", "torchvision", "--only", "alexnet", "--json", str(path)])
    line = json.loads(path.read_text())
    assert line[KEY] == VERSION
    conformance.main(["--suite", "torchvision", "--only", "alexnet", "--json", str(path)])
    assert len(measured) == 1
    del line[KEY]
    path.write_text(json.dumps(line) + "\n")
    assert "Version 1 of the interpretation." in write_docs(folder).read_text()
    conformance.main(["--suite", "torchvision", "--only", "alexnet", "--json", str(path)])
    assert len(measured) == 2 and json.loads(path.read_text())[KEY] == VERSION


def test_the_page_has_the_table():
    text = (Path(__file__).parents[1] / "docs" / "interpretations.md").read_text()
    for version, changes in CHANGES.items():
        assert f"### Version {version}\n" in text and all(f"* {change}\n" in text for change in changes)
