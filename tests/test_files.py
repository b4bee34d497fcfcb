"""Files appear complete or not at all, and whoever the umask lets read a new file can read them."""

from __future__ import annotations

import itertools
import os

import pytest
import torch
from torch import nn

import fxscope
from fxscope.errors import FxscopeError
from fxscope.passes.outputs import tensors_of
from fxscope.results.files import check_writable, replacing, write_text


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield 0o640
    os.umask(before)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)), torch.rand(
        1, 3, 8, 8
    )


def written(folder):
    """One file by every writer of the package."""
    model, x0 = network()
    graph, lin = fxscope.transform(model), fxscope.interpret(model, x0)
    fxscope.save(graph, folder / "net.ts", (x0, x0))
    fxscope.save(graph, folder / "net.pt2", (x0, x0))
    lin.F.svd(2).save(folder / "svd.safetensors")
    fxscope.draw(graph).save(folder / "graph.svg")
    fxscope.draw(graph).save(folder / "graph.html")
    fxscope.analysis.residual_share(model, [("a", x0)], folder / "state.json", progress=False)
    return list(folder.iterdir())


def test_every_writer_respects_the_umask(tmp_path, umask):
    files = written(tmp_path)
    assert len(files) == 6
    assert {oct(f.stat().st_mode & 0o777) for f in files} == {oct(umask)}


def stop(new):
    new.write_text("half of what follo")
    raise FxscopeError("stopped")


def test_a_failure_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path):
    path = tmp_path / "result.json"
    write_text(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half of it, and then what UTF-8 cannot hold: \udc80")
    with pytest.raises(FxscopeError, match="stopped"), replacing(path) as new:
        stop(new)
    assert path.read_text() == "before" and [f.name for f in tmp_path.iterdir()] == ["result.json"]
    write_text(path, "after")
    assert path.read_text() == "after" and [f.name for f in tmp_path.iterdir()] == ["result.json"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write_text(tmp_path / "link.json", "text")
    assert (tmp_path / "link.json").is_symlink() and (tmp_path / "real.json").read_text() == "text"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no/such/x.json", "no folder"),
        ("", "is a folder"),
        ("/dev/null", "device"),
        ("/proc/x.json", "no file can"),
    ],
)
def test_what_cannot_be_written_is_known_before(path, said, tmp_path):
    with pytest.raises(FxscopeError, match=said):
        check_writable(tmp_path / path)
    with pytest.raises(FxscopeError, match=said):
        write_text(tmp_path / path, "text")
    assert not list(tmp_path.iterdir())


class SkipAndConcatenation(nn.Module):
    """The parts of its concatenation are views that torch.export guards, if one image is free to come."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        return self.second(torch.cat([torch.relu(self.first(x)), x], 1)).flatten(1)


def probed():
    """Every form, and every kind of network with every batch, in the default run."""
    quick = {("pair", 1, False), ("filter", 3, True), ("adjoint", 3, False), ("row", 1, True)}
    for case in itertools.product(["pair", "filter", "adjoint", "row"], [1, 3], [False, True]):
        yield pytest.param(*case, marks=[] if case in quick else [pytest.mark.full])


@pytest.mark.turns(2)
@pytest.mark.parametrize(("form", "batch", "concatenates"), list(probed()))
def test_every_number_of_probes(tmp_path, form, batch, concatenates):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2), nn.SiLU(), nn.Flatten(), nn.Linear(72, 3))
    model = (SkipAndConcatenation() if concatenates else model).double().eval()
    x0 = torch.randn(batch, 1, 8, 8, dtype=torch.float64)
    y0 = model(x0).detach()
    second = {"adjoint": y0, "row": torch.zeros(batch, dtype=torch.int64)}.get(form, x0)
    graph, path = fxscope.transform(model, form), tmp_path / "graph.pt2"
    fxscope.save(graph, path, (x0, second))
    loaded = torch.export.load(path).module()
    for count in (1, 2, 5):
        given = x0, torch.cat([second] * count)
        for one, two in zip(tensors_of(loaded(*given)), tensors_of(graph(*given)), strict=True):
            assert (one - two).abs().max() <= 1e-12 * two.abs().max()
