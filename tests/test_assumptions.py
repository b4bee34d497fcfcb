"""A graph whose trace read a size as a number checks that size.

It does so in every form and in every file; free sizes stay free.
"""

from __future__ import annotations

import json
import re
import sys

import pytest
import torch
from sized import SIZED, BranchesOnBatch, Caught, DividesByWidth, EvenBatch, PadsToEight, Positions, Windows
from small import Small
from torch import nn
from torch.export import Dim

import fxscope
from fxscope.analysis import residual_share
from fxscope.emit import FORMS, emit
from fxscope.emit.pipeline import program_of
from fxscope.errors import FxscopeError, ShapeError, TraceFailure
from fxscope.export import shapes
from fxscope.frontend.example import Example
from fxscope.graph.assumptions import assumptions, takes
from fxscope.testing import laws

D = torch.float64
WRONG = ((2, 3, 24, 24), (2, 3, 20, 24), (1, 3, 20, 20), (4, 3, 20, 20))


def image(*shape, dtype=D, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def made(kind, *, dtype=D):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind().to(dtype).eval()


def traced(kind, x0):
    model = made(kind)
    return model, program_of(model, example_inputs=Example((x0,)))


def arguments(form, x0, y0, stacked, state=None):
    """What a form takes, at x0's sizes."""
    x1, y2 = (x0[None], y0[None]) if stacked else (x0, y0)
    index = torch.zeros(1, x0.shape[0], dtype=torch.int64)
    given = {
        "residual": (x0,),
        "record": (x0,),
        "argmax": (x0,),
        "adjoint": (x0, y2),
        "row": (x0, index if stacked else index[0]),
    }
    return (
        given.get(form, (x0, x1))
        if form not in ("replay", "pullback")
        else (list(state), x1 if form == "replay" else y2)
    )


def right(form, found, model, x0):
    """y0 of the forms that give it; F x0 + r of the filter is looked at beside."""
    y0 = found[0] if isinstance(found, tuple) else found
    return form in ("filter", "residual", "adjoint") or laws.distance(y0, model(x0)) < 1e-12


@pytest.mark.turns(3)
@pytest.mark.parametrize("kind", SIZED)
@torch.no_grad()
def test_another_size_is_right_or_refused_in_every_form(kind):
    model, program = traced(kind, image(2, 3, 20, 20))
    forms = [
        (form, emit(program, form, probes), probes == "stacked")
        for form in FORMS
        if form not in ("replay", "pullback")
        for probes in ("flat", "stacked")
    ]
    for shape in ((2, 3, 20, 20), *WRONG):
        x0 = image(*shape)
        y0, refused = model(x0), 0
        for form, graph, stacked in forms:
            try:
                found = graph(*arguments(form, x0, y0, stacked))
            except AssertionError as error:
                refused += 1
                assert re.search(r"this graph was made for .*example_inputs", str(error)), str(error)
                continue
            assert right(form, found, model, x0), (form, shape)
        assert refused in (0, len(forms)), "every form checks the same"
        assert refused == 0 or shape != (2, 3, 20, 20)
        if not refused:
            pair, residual = (
                graph for form, graph, stacked in forms if form in ("filter", "residual") and not stacked
            )
            assert laws.distance(pair(x0, x0) + residual(x0), y0) < 1e-12


@pytest.mark.parametrize("kind", [PadsToEight, DividesByWidth, Windows, Positions, Caught])
@torch.no_grad()
def test_the_message_names_size_and_purpose(kind):
    _, program = traced(kind, image(2, 3, 20, 20))
    with pytest.raises(
        AssertionError,
        match=(
            r"x0 has size 24 in dimension 2, and this graph was made for 20 \(torch.export .*example_inputs"
        ),
    ):
        emit(program, "filter")(image(2, 3, 24, 24), image(2, 3, 24, 24))


@torch.no_grad()
def test_rank_and_dtype_are_checked():
    graph = emit(traced(DividesByWidth, image(2, 3, 20, 20))[1], "residual")
    with pytest.raises(AssertionError, match="x0 has 3 dimensions, and this graph was made for 4"):
        graph(image(3, 20, 20))
    with pytest.raises(
        AssertionError, match="x0 is of another dtype, and this graph was made for torch.float64"
    ):
        graph(image(2, 3, 20, 20).float())


@pytest.mark.parametrize(("kind", "batch", "taken", "said"), [
    (BranchesOnBatch, 2, (1, 2), r"x0.size\(0\) <= 2"),
    (BranchesOnBatch, 4, (3, 5), r"x0.size\(0\) > 2"),
    (EvenBatch, 2, (2, 4), r"x0.size\(0\) % 2 == 0"),
])  # fmt: skip
@torch.no_grad()
def test_a_condition_on_the_batch_is_the_condition(kind, batch, taken, said):
    """A free batch is as free as the model's code leaves it, and the error has the user's line."""
    model, program = traced(kind, image(batch, 3, 8, 8))
    graph = emit(program, "pair")
    for size in range(1, 7):
        x0 = image(size, 3, 8, 8)
        if takes(graph, x0):
            assert laws.distance(graph(x0, x0), (model(x0), model(x0))) < 1e-12
            continue
        assert size not in taken
        with pytest.raises(
            AssertionError,
            match=f"(?s)is {size}, and this graph was made for {said}.*sized.py:[0-9]+: .*x.shape",
        ):
            graph(x0, x0)
    assert all(takes(graph, image(size, 3, 8, 8)) for size in taken)


class OneImage(nn.Module):
    """One image alone is treated otherwise."""

    def forward(self, x):
        return torch.relu(x) * (2 if x.shape[0] == 1 else 3)


@pytest.mark.parametrize(("batch", "taken"), [(1, {1}), (2, {2, 3})])
@torch.no_grad()
def test_one_image_is_a_size_like_others(batch, taken):
    """torch.export takes sizes of 0 and 1 for constants, and by default writes no guard for the others."""
    model = OneImage()
    graph = fxscope.transform(model, example_inputs=(image(batch, 3),))
    assert {size for size in (1, 2, 3) if takes(graph, image(size, 3))} == taken
    for size in taken:
        x0 = image(size, 3)
        assert laws.distance(graph(x0, x0), (model(x0), model(x0))) < 1e-12


class Two(nn.Module):
    """Two inputs of one batch."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 5)

    def forward(self, x, y):
        return self.body(x) * int(x.shape[1]) + y


@torch.no_grad()
def test_inputs_that_share_their_batch():
    model = made(Two)
    graph = fxscope.transform(model, example_inputs=(image(2, 4), image(2, 5, seed=1)))
    x, y = image(3, 4), image(3, 5, seed=1)
    assert laws.distance(graph(x, y, x), (model(x, y), model(x, y))) < 1e-12
    with pytest.raises(AssertionError, match="y.size\\(0\\) == x.size\\(0\\)"):
        graph(x, y[:2], x)


@torch.no_grad()
def test_free_sizes_stay_free_and_are_not_checked():
    """A network that symbolic tracing takes assumes nothing: no assertion but those about the probes."""
    model = made(Small)
    graph = fxscope.transform(model, example_inputs=(image(2, 2, 12, 12),))
    assert assumptions(graph) == () and not [n for n in graph.graph.nodes if n.target == "format"]
    for shape in ((1, 2, 12, 12), (3, 2, 16, 20)):
        x0 = image(*shape)
        assert laws.distance(graph(x0, x0), (model(x0), model(x0))) < 1e-12
    said = [
        str(n.args[1]) for n in fxscope.transform(model, "residual").graph.nodes if n.target is torch._assert
    ]
    assert all("float" in text for text in said), (
        "without an example the one thing that is checked is that x0 is no integer"
    )


def test_int_of_a_size_is_refused_by_symbolic_tracing():
    for kind in (DividesByWidth, Caught):
        with pytest.raises(TraceFailure, match="sized.py:"):
            fxscope.transform(made(kind), frontend="symbolic")


class Asserts(nn.Module):
    """The model's own assertion about the size of its input."""

    def forward(self, x):
        torch._assert(x.shape[-1] % 8 == 0, "the width is a multiple of 8")
        return torch.relu(x[..., : x.shape[-1] // 8 * 8])


def test_the_models_own_assertions_are_in_every_form():
    for form in ("pair", "filter", "residual", "adjoint", "row", "argmax", "record"):
        graph = fxscope.transform(Asserts(), form, example_inputs=(image(2, 3, 16),))
        x0 = image(2, 3, 20)
        with pytest.raises(AssertionError, match="the width is a multiple of 8"):
            graph(*arguments(form, x0, x0[..., :16], False))


@torch.no_grad()
def test_a_probe_of_a_recorded_state_is_checked():
    _, program = traced(PadsToEight, image(2, 3, 20, 20))
    _, state = emit(program, "record", "stacked")(image(2, 3, 20, 20))
    with pytest.raises(AssertionError, match="x1 has size 24 in dimension 3, and this graph was made for 20"):
        emit(program, "replay", "stacked")(list(state), image(1, 2, 3, 24, 24))


@torch.no_grad()
def test_interpret_and_verify_are_at_the_sizes_of_x0():
    model = made(PadsToEight)
    for shape in ((1, 3, 20, 20), (2, 3, 24, 24)):
        x0 = image(*shape)
        lin = fxscope.interpret(model, x0)
        assert laws.distance(lin(x0), model(x0)) < 1e-12 and lin.error < 1e-12
    assert fxscope.verify(made(EvenBatch), image(2, 3, 8, 8)).ok


def test_the_summary_has_the_sizes():
    table = fxscope.summary(fxscope.transform(made(PadsToEight), example_inputs=(image(2, 3, 20, 20),)))
    assert "resolution-specialised (torch.export: x0 (B, 3, 20, 20))" in table.header
    even = fxscope.summary(fxscope.transform(made(EvenBatch), example_inputs=(image(2, 3, 8, 8),)))
    assert "where x0.size(0) % 2 == 0" in even.header
    assert not [row for row in table.rows if row.rule in ("_assert", "format", "size")]


def test_storage_at_another_size_is_refused():
    with pytest.raises(ShapeError, match="made for|size\\(2\\) == 20"):
        fxscope.storage(made(PadsToEight), (2, 3, 24, 24), example_inputs=(image(2, 3, 20, 20),))


RUN = """
import sys, torch
path, source = sys.argv[1:]
call = torch.jit.load(path) if path.endswith(".ts") else \
torch._inductor.aoti_load_package(path) if "aoti" in path else \
torch.export.load(path).module()
for inputs in torch.load(source):
    try:
        call(*inputs)
        print("RAN")
    except Exception as error:
        print("REFUSED", str(error).replace("\\n", " "))
"""


def outcomes(forks, path, folder, *input_sets):
    """What a saved file does with every set of inputs, in a process that never had fxscope."""
    torch.save(list(input_sets), folder / "inputs.pt")
    done = forks.run([sys.executable, "-c", RUN, str(path), str(folder / "inputs.pt")], cwd=folder)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith(("RAN", "REFUSED"))]


def pair_inputs(*shape, dtype=torch.float32):
    x0 = image(*shape, dtype=dtype)
    return x0, torch.stack([x0, x0 * 0.5])


@pytest.mark.turns(2, 1)
@pytest.mark.parametrize(
    ("kind", "suffix", "said"),
    [
        (DividesByWidth, "pt2", r"x0.size\(\)\[2\] == 20"),
        (PadsToEight, "ts", "x0 has size 24 in dimension 2, and this graph was made for 20"),
    ],
)
def test_saved_graphs_check_their_sizes(kind, suffix, said, tmp_path, forks):
    inputs, path = pair_inputs(2, 3, 20, 20), tmp_path / f"net.{suffix}"
    graph = fxscope.transform(made(kind, dtype=torch.float32), probes="stacked", example_inputs=inputs[:1])
    assert fxscope.save(graph, path, inputs).ok
    sets = (
        inputs,
        pair_inputs(3, 3, 20, 20),
        pair_inputs(2, 3, 24, 24),
        pair_inputs(2, 3, 20, 24),
        pair_inputs(2, 3, 20, 20, dtype=D),
    )
    found = outcomes(forks, path, tmp_path, *sets)
    assert found[:2] == ["RAN", "RAN"] and all(line.startswith("REFUSED") for line in found[2:]), found
    assert re.search(said, found[2]), found
    if suffix == "pt2":
        files = {"fxscope.assumptions": ""}
        torch.export.load(path, extra_files=files)
        assert {
            "input": "x0",
            "kind": "size",
            "dimension": 3,
            "value": 20,
            "why": "torch.export made a number of it",
        } in json.loads(files["fxscope.assumptions"])


@pytest.mark.turns(2, 1)
@pytest.mark.parametrize("suffix", ["pt2", "ts"])
def test_saved_graphs_check_a_condition_on_the_batch(suffix, tmp_path, forks):
    inputs = pair_inputs(2, 3, 8, 8)
    graph = fxscope.transform(
        made(EvenBatch, dtype=torch.float32), probes="stacked", example_inputs=inputs[:1]
    )
    assert fxscope.save(graph, tmp_path / f"net.{suffix}", inputs).ok
    found = outcomes(
        forks, tmp_path / f"net.{suffix}", tmp_path, inputs, pair_inputs(4, 3, 8, 8), pair_inputs(3, 3, 8, 8)
    )
    assert [line.split()[0] for line in found] == ["RAN", "RAN", "REFUSED"], found


@pytest.mark.turns(2, 1)
@pytest.mark.parametrize(
    ("kind", "shape", "fixed"),
    [
        (DividesByWidth, (2, 3, 20, 20), {1: 3, 2: 20, 3: 20}),
        (EvenBatch, (2, 3, 8, 8), {0: 2, 1: 3, 2: 8, 3: 8}),
    ],
)
def test_onnx_fixes_the_sizes_and_says_why(kind, shape, fixed, tmp_path):
    import onnx
    import onnxruntime

    inputs = pair_inputs(*shape)
    graph = fxscope.transform(made(kind, dtype=torch.float32), probes="stacked", example_inputs=inputs[:1])
    assert fxscope.save(graph, tmp_path / "net.onnx", inputs).ok
    file = onnx.load(tmp_path / "net.onnx")
    dims = next(i for i in file.graph.input if i.name == "x0").type.tensor_type.shape.dim
    assert {d: dims[d].dim_value for d in fixed} == fixed
    said = json.loads(next(p.value for p in file.metadata_props if p.key == "fxscope.assumptions"))
    assert any(a["kind"] == "size" and a["dimension"] == 3 and a["value"] == shape[3] for a in said)
    assert kind is DividesByWidth or any(a["value"] == "x0.size(0) % 2 == 0" for a in said)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    for wrong in ((2, 3, 24, 24), (3, 3, *shape[2:])):
        if wrong[0] == 3 and 0 not in fixed:
            continue
        with pytest.raises(Exception, match="(?i)invalid dimensions|Expected"):
            session.run(None, {n: x.numpy() for n, x in zip(("x0", "x1"), pair_inputs(*wrong))})


@pytest.mark.parametrize(
    "spec",
    [
        shapes.SPATIAL,
        ({2: Dim("H")}, {3: Dim("H")}),
        ({0: Dim("B"), 3: Dim.AUTO}, None),
        {"x0": {2: Dim.DYNAMIC}, "x1": None},
    ],
)
def test_a_fixed_size_cannot_be_asked_to_be_free(spec, tmp_path):
    inputs = pair_inputs(2, 3, 20, 20)
    graph = fxscope.transform(
        made(DividesByWidth, dtype=torch.float32), probes="stacked", example_inputs=inputs[:1]
    )
    with pytest.raises(FxscopeError, match="dimension [23] of x0, 20"):
        fxscope.save(graph, tmp_path / "net.pt2", inputs, dynamic_shapes=spec)


def test_another_example_cannot_be_saved(tmp_path):
    inputs = pair_inputs(2, 3, 20, 20)
    graph = fxscope.transform(
        made(DividesByWidth, dtype=torch.float32), probes="stacked", example_inputs=inputs[:1]
    )
    for wrong in (pair_inputs(2, 3, 24, 24), pair_inputs(2, 3, 20, 20, dtype=D)):
        with pytest.raises(FxscopeError, match="not made for these example inputs: x0"):
            fxscope.save(graph, tmp_path / "net.pt2", wrong)


@pytest.mark.full
def test_an_aotinductor_package_refuses_a_wrong_size(tmp_path, forks):
    inputs = pair_inputs(2, 3, 20, 20)
    graph = fxscope.transform(
        made(DividesByWidth, dtype=torch.float32), probes="stacked", example_inputs=inputs[:1]
    )
    assert fxscope.save(graph, tmp_path / "aoti.pt2", inputs, format="aoti").ok
    sets = (inputs, pair_inputs(3, 3, 20, 20), pair_inputs(2, 3, 24, 24), pair_inputs(2, 3, 20, 20, dtype=D))
    assert [line.split()[0] for line in outcomes(forks, tmp_path / "aoti.pt2", tmp_path, *sets)] == [
        "RAN",
        "RAN",
        "REFUSED",
        "REFUSED",
    ]


@torch.no_grad()
def test_residual_share_of_images_of_several_sizes():
    class Scores(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, x):
            return self.last(torch.relu(self.body(x)).sum((2, 3)) / float(x.shape[-1]))

    model = made(Scores)
    images = [(str(i), image(1, 3, n, n, seed=i)) for i, n in enumerate((8, 8, 12))]
    share = residual_share(model, images, progress=False).models[0]
    assert len(share.shares) == 3 and share.error < 1e-12
