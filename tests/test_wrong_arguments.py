"""Every public function with wrong arguments: an error of fxscope's own, which says what was expected.

The functions are walked by themselves: the name and annotation of an argument give its wrong values, and
``GIVEN`` the right values of all arguments. A new public function is walked as soon as it is in an
``__all__``.
"""

from __future__ import annotations

import functools
import inspect
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fxscope
from fxscope.errors import FxscopeError
from fxscope.results.base import Result

MODULES = {
    "fxscope": fxscope,
    "analysis": fxscope.analysis,
    "plot": fxscope.plot,
    "testing": fxscope.testing,
    "models": fxscope.models,
}
HERE = Path(fxscope.__file__).parent


def net() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 1, 3, padding=1)
    return nn.Sequential(*layers).double().eval()


def image(*shape: int) -> torch.Tensor:
    shape = shape or (1, 1, 8, 8)
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Classifier(nn.Module):
    """A classifier of images (1, 8, 8) into three classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features, self.head = net(), nn.Linear(64, 3).double()

    def forward(self, x):
        return self.head(torch.relu(self.features(x)).flatten(1))


# wrong values of an argument, by its annotation; further ones by its name
NOTHING = (None, "nonsense", -1, {}, object())
WRONG_TENSORS = (None, "nonsense", 3, [[1.0]], image().numpy(), image().to("meta"), image().to_sparse())
WRONG_NUMBERS = (None, "nonsense", float("nan"), float("inf"), [1.0], image())
BY_KIND: dict[str, tuple[Any, ...]] = {
    "nn.Module": (None, "resnet", net, nn.Conv2d, {}, torch.jit.script(net())),
    "torch.Tensor": WRONG_TENSORS,
    "fx.GraphModule": (*NOTHING, net()),
    "int": (*WRONG_NUMBERS, -1, 1.5),
    "float": WRONG_NUMBERS,
    "bool": (None, "yes", 3.0, image()),
    "str": (None, 3, b"bytes", image(), ["a"]),
    "Path": (None, 3, image(), ""),
    "tuple[int, int]": (3, "ab", (1,), (1, 2, 3), (1.5, 2), ("a", "b"), image()),
    "tuple[int, ...]": (None, 3, "ab", (), (0, 1), (-1, 2), (1.5,), image()),
    "Sequence[tuple[int, int]]": (None, 3, "ab", [], [3], [(1,)], [(1.5, 2)]),
    "Sequence[float]": (None, 3, "ab", ["a"], [float("nan")]),
    "dict[str, torch.Tensor]": (None, 3, "ab", {}, {"a": 3}),
}
BY_NAME: dict[str, tuple[Any, ...]] = {
    "x0": (torch.tensor(1.0), image(0, 1, 8, 8), image(1, 8, 8), image(1, 3, 8, 8)),
    "index": (None, "nonsense", 1.5, (9, 9, 9), (0, 0, 0, 0), (0, 8, 0), (0, -9, 0), [0, 0], object()),
    "place": ((99, 99), (-1, 0)),
    "places": ([(99, 99)],),
    "policy": ("nonsense", 3, {"nonsense": "scale"}, {"relu": "nonsense"}, [1]),
    "inputs": ("nonsense", 3, ["nonsense"], []),
    "outputs": ("nonsense", 3, ["nonsense"], []),
    "emit": ("nonsense", None, 3),
    "probes": ("nonsense", None, 3),
    "memory": ("nonsense", None, 3),
    "frontend": ("nonsense", None, 3),
    "format": ("nonsense", 3),
    "reading": ("nonsense", None, 3),
    "readings": (None, 3, "nonsense", [], ["nonsense"], {"a": "nonsense"}),
    "batch_norm": ("nonsense", None, 3),
    "padding": ("nonsense", None, 3),
    "dtype": ("nonsense", 3, torch.int64, torch.complex64),
    "example_inputs": (image(), 3, "nonsense", (None,), (image(1, 3, 8, 8),), (image().to("meta"),), ()),
    "labels": ("nonsense", 1.5, [99], [-99], object()),
    "spec": ("torchvision:nonsense", "fxscope:nonsense", "missing.py:f", "nonsense", ""),
    "name": ("nonsense", ""),
    "path": ("missing/graph.pt2", "graph.xyz", "missing.safetensors"),
    "rule": NOTHING,
    "models": (None, 3, {}, {"a": 3}, "nonsense"),
    "images": (None, 3, [], [3], "nonsense"),
    "found": NOTHING,
    "lin": NOTHING,
    "lins": NOTHING,
    "walk": ("nonsense",),
    "scale": ("nonsense",),
    "points": ([(9, 9)],),
    "channel": (2,),
    "comparison": NOTHING,
    "c": NOTHING,
    "panels": ({"a": 3},),
    "sets": (None, 3, {}, {"a": 3}),
    "chunk": (-1, 0, 1.5, "nonsense"),
    "seed": (-1, 1.5, "nonsense"),
    "K": (0,),
    "mean": ("nonsense", [1.0] * 7, image()),
    "std": ("nonsense", 0.0, [1.0] * 7),
    "epsilons": ([], [-1.0]),
    "dynamic_shapes": ("nonsense", 3),
}


@functools.cache
def right_values(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Right values of the arguments without a default: of all functions, and of each that needs others."""
    rows, columns = image(2, 1, 9, 9), image(2, 1, 9, 9)
    lin = fxscope.interpret(Classifier(), image())
    per_function: dict[str, dict[str, Any]] = {
        "fxscope.check_saved": {"path": saved(folder)},
        "fxscope.draw": {"gm": fxscope.transform(net())},
        "fxscope.save": {
            "graph": fxscope.transform(net()),
            "path": folder / "graph.pt2",
            "example_inputs": (image(), image()),
        },
        "analysis.copy_move": {"row": rows[0], "place": (4, 4), "radius": 2, "window": 3},
        "analysis.diagonal": {"rows": rows, "places": [(4, 4), (3, 3)], "radius": 2},
        "analysis.energy_against_distance": {"filters": rows, "places": [(4, 4), (3, 3)]},
        "analysis.faithfulness": {"model": Classifier(), "labels": [1]},
        "analysis.fgsm": {"model": Classifier(), "labels": [1]},
        "analysis.invariance": {"columns": columns, "places": [(4, 4), (3, 3)], "radius": 2},
        "analysis.layer_contributions": {"model": Classifier()},
        "analysis.pixel_discussion": {"labels": [0, 1]},
        "analysis.reach": {"x0": image(1, 1, 16, 16), "index": (0, 4, 4), "bound": 2},
        "analysis.residual_share": {"models": {"net": Classifier()}, "images": [("one", image())]},
        "analysis.votes_study": {
            "model": Classifier(),
            "images": [("one", image(), torch.ones(8, 8, dtype=torch.bool).triu())],
        },
        "plot.contributions": {"c": lin.contributions((0,))},
        "plot.images": {"panels": {"a": rows[0]}},
        "plot.heatmap": {"lin": lin, "index": (0,)},
        "plot.look": {},
        "plot.tokens": {"names": ["a", "b"], "values": {"logit": torch.ones(2)}},
        "plot.row": {"values": rows[0]},
        "plot.column": {"values": rows[0]},
        "plot.video": {
            "path": folder / "film.gif",
            "lins": {"net": fxscope.interpret(net(), image())},
        },
        "models.load_weights": {"model": net(), "path": folder / "weights.pt"},
        "models.load_model": {"spec": "fxscope:pixelshuffle4x"},
        "models.build": {"name": "dncnn"},
        "models.provenance": {"name": "edsr_small"},
    }
    found = lin.F.svd(2, progress=False)
    common = {
        "model": net(),
        "x0": image(),
        "index": (0, 4, 4),
        "lin": lin,
        "gm": fxscope.transform(net()),
        "shape": (1, 1, 8, 8),
        "rule": next(iter(fxscope.rules.registry().rules.values())),
        "readings": ["freeze", "taylor"],
        "at": (0, 4, 4),
        "found": found,
        "sets": {"a": [found, found]},
        "comparison": fxscope.compare(image(), ["freeze", "taylor"], (0, 4, 4), model=net()),
        "args": (image(),),
        "inputs": (image(),),
    }
    return common, per_function


def given(name: str, folder: Path) -> dict[str, Any]:
    """Right values of the arguments of one function."""
    common, per_function = right_values(folder)
    return {**common, **per_function.get(name, {})}


def saved(folder: Path) -> Path:
    torch.save(net().state_dict(), folder / "weights.pt")
    (folder / "graph.pt2").write_bytes(b"no archive")
    return folder / "graph.pt2"


def functions() -> list[str]:
    found = []
    for module, owner in MODULES.items():
        for name in owner.__all__:
            value = getattr(owner, name)
            if callable(value) and not (isinstance(value, type) and not issubclass(value, nn.Module)):
                found.append(f"{module}.{name}")
    return found


def wrong(parameter: inspect.Parameter) -> Iterator[Any]:
    """The wrong values of an argument; None is none of them where its annotation or default takes it."""
    kinds = [k.strip() for k in str(parameter.annotation).split("|")]
    plain = [k for k in kinds if k != "None"]
    values = [*(BY_KIND.get(plain[0], ()) if len(plain) == 1 else ()), *BY_NAME.get(parameter.name, ())]
    if plain == ["str", "Path"]:
        values += BY_KIND["Path"]
    optional = "None" in kinds or parameter.default is None
    for value in values:
        if not (value is None and optional):
            yield value


WALKED = functions()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("arguments")


@pytest.mark.parametrize("name", WALKED)
def test_wrong_values(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    saved(folder)
    module, _, own = name.partition(".")
    function = getattr(MODULES[module], own)
    parameters = inspect.signature(function).parameters
    right = given(name, folder)
    needed = {n: right[n] for n, p in parameters.items() if n in right and _is_needed(p)}
    bad = []
    for parameter in parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        for value in wrong(parameter):
            if name == "fxscope.places" and isinstance(value, tuple) and _of_other_channels(value):
                continue  # it names places, and runs nothing
            said = judged(function, parameters, {**needed, parameter.name: value})
            if said:
                bad.append(f"{name}({parameter.name}={_short(value)}): {said}")
    assert not bad, "\n".join(bad)


def _of_other_channels(value: tuple) -> bool:
    return any(isinstance(v, torch.Tensor) and v.shape == (1, 3, 8, 8) for v in value)


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD


def _short(value: Any) -> str:
    return repr(value).replace("\n", " ")[:50]


def judged(function: Any, parameters: Any, arguments: dict[str, Any]) -> str:
    """ "" if the call is refused by fxscope's own error in one paragraph; else what is wrong."""
    arguments = dict(arguments)
    star = next((n for n, p in parameters.items() if p.kind is p.VAR_POSITIONAL), None)
    positional = list(arguments.pop(star, ())) if star else []
    if star:
        positional = [arguments.pop("model"), *positional]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(*positional, **arguments)
        return "it was taken"
    except Exception as error:
        return unlike(error)


def unlike(error: Exception) -> str:
    """What is wrong with an error; "" for an ``FxscopeError`` and for fxscope's own TypeError or"
    " ValueError."""
    text, last = str(error), traceback.extract_tb(error.__traceback__)[-1].filename
    by_check = Path(last).is_relative_to(HERE) or "required argument" in text
    by_python = last == __file__  # of operators that gave NotImplemented
    own = isinstance(error, FxscopeError) or (
        type(error) in (ValueError, TypeError) and (by_check or by_python)
    )
    if not own:
        return f"{type(error).__name__} from {Path(last).name}: {text[:120]}"
    return "" if len(text) > 20 and "\n\n" not in text else f"it says too little: {text!r}"


VECTORS = (
    *WRONG_TENSORS,
    image(1, 7, 8),
    image(1, 8, 8).float(),
    image(1, 8, 8).to(torch.int64),
    (image(1, 8, 8),),
)
INDICES = (
    None,
    "nonsense",
    1.5,
    (9, 9, 9),
    (0, 0, 0, 0),
    (0, 8, 0),
    (0, -9, 0),
    [0, 0],
    object(),
    {},
    (None,),
)
SEVERAL = (None, 3, (0, 0, 0), "nonsense", [(9, 9, 9)], [None], {(0, 0, 0): 1.0}, image())
COUNTS = (-1, 1.5, "nonsense", image(), float("nan"))
# the public records of results, and what makes one of each
RECORDS: dict[str, Any] = {
    "SVD": lambda lin, scores: lin.F.svd(2, progress=False),
    "Spectrum": lambda lin, scores: lin.F.spectrum(2, 3, progress=False),
    "Filters": lambda lin, scores: lin.F.filters(rows=[(0, 4, 4)]),
    "LocalRow": lambda lin, scores: fxscope.local_row(net(), image(), (0, 4, 4)),
    "LocalColumn": lambda lin, scores: fxscope.local_column(net(), image(), (0, 4, 4)),
    "Contributions": lambda lin, scores: lin.contributions((0, 4, 4)),
    "Storage": lambda lin, scores: fxscope.analysis.storage(net(), (1, 1, 8, 8)),
    "Comparison": lambda lin, scores: fxscope.compare(image(), ["freeze", "taylor"], (0, 4, 4), model=net()),
    "LayerContributions": lambda lin, scores: fxscope.analysis.layer_contributions(Classifier(), image()),
    "PixelVotes": lambda lin, scores: scores.pixel_votes(progress=False),
    "PixelDiscussion": lambda lin, scores: scores.pixel_discussion([0, 1]),
    "Reach": lambda lin, scores: fxscope.analysis.reach(
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.InstanceNorm2d(2), nn.Conv2d(2, 1, 1)).double(),
        image(1, 1, 16, 16),
        (0, 4, 4),
        bound=2,
    ),
    "FGSM": lambda lin, scores: fxscope.analysis.fgsm(Classifier(), image().sigmoid(), [1]),
    "ResidualShare": lambda lin, scores: fxscope.analysis.residual_share(
        {"net": Classifier()}, [("one", image())]
    ),
    "VotesStudy": lambda lin, scores: fxscope.analysis.votes_study(
        Classifier(), [("one", image(), torch.ones(8, 8, dtype=torch.bool).triu())]
    ),
    "Faithfulness": lambda lin, scores: fxscope.analysis.faithfulness(
        Classifier(), image(), noise=[0.1], depths=1, fractions=2
    ),
    "Energy": lambda lin, scores: fxscope.analysis.energy_against_distance(
        image(2, 1, 9, 9), [(4, 4), (3, 3)]
    ),
    "Invariance": lambda lin, scores: fxscope.analysis.invariance(
        image(2, 1, 9, 9), [(4, 4), (3, 3)], radius=2
    ),
    "Diagonal": lambda lin, scores: fxscope.analysis.diagonal(image(2, 1, 9, 9), [(4, 4), (3, 3)], radius=2),
    "MeanMap": lambda lin, scores: fxscope.mean_map(net(), [image()], progress=False),
    "Source": lambda lin, scores: fxscope.analysis.copy_move(image(1, 9, 9), (4, 4), radius=2, window=3),
}
RECORD: dict[str, tuple[Any, ...]] = {
    "save": (None, 3, "missing/record.safetensors", "", image()),
    "load": (None, 3, "missing.safetensors", "graph.pt2", "weights.pt", "", image()),
    "plot": (object(), image()),
}
# public names that only the package itself calls, or that no argument is wrong for
INTERNAL = {
    "LinearInterpreter": {"read", "fresh_run", "shares", "states_with", "structured", "check_blocks"},
    "Reader": {"again"},
    "SVD": {"shapes"},
    # which take the switch of a progress bar alone; the last joins the parts of several processes
    "Operator": {"to_dense", "to_sparse", "joined"},
}
METHODS: dict[str, dict[str, tuple[Any, ...]]] = {
    "lin": {
        "__call__": VECTORS,
        "gap": (*VECTORS, image(1, 3, 8, 8)),
        "page": (None, 3, image(), "", "missing/page.html"),
        "view": (None, 3, image(), "nonsense", [3]),
        "contributions": INDICES,
        "iter_contributions": SEVERAL,
        "pixel_discussion": ("nonsense", 1.5, [99], [-99], object()),
        "pixel_votes": ("nonsense", 1.5, [99], [-99], object()),
    },
    "lin.F": {
        "__matmul__": VECTORS,
        "__mul__": ("nonsense", 1j, float("nan"), float("inf"), image(), None, [2.0]),
        "__truediv__": ("nonsense", 0, 1j, float("nan"), image(), None, image().to_sparse()),
        "__add__": (3, None, "nonsense", image()),
        "row": INDICES,
        "column": INDICES,
        "rows": SEVERAL,
        "columns": SEVERAL,
        "iter_rows": SEVERAL,
        "to_zarr": (None, 3, image(), "", "missing/map"),
        "filters": SEVERAL,
        "restrict": INDICES[1:],
        "receptive_field": INDICES,
        "projective_field": INDICES,
        "svd": (None, 0, 10**6, *COUNTS),
        "norm": (None, "nonsense", 3, image()),
        "trace": COUNTS,
        "spectrum": COUNTS,
    },
    "lin.F.flat": {
        "__matmul__": (*VECTORS, image(63)),
        "matvec": (*VECTORS, image(63)),
        "rmatvec": (*VECTORS, image(65)),
    },
    "reader": {
        "__call__": (None, "nonsense", image().numpy(), image(1, 8, 8), image(1, 3, 8, 8), image(0, 1, 8, 8)),
        "rows": INDICES,
        "contributions": INDICES,
    },
    **dict.fromkeys(RECORDS, RECORD),
    "Storage": {name: RECORD[name] for name in ("save", "load")},  # it is a table
    "MeanMap": {"merged": (None, 3, image()), **{name: RECORD[name] for name in ("save", "load")}},
    "Policy": {"of": (3, "nonsense", [1], object()), "__call__": ("nonsense", 3, None)},
}


@functools.cache
def objects() -> dict[str, Any]:
    lin, scores = fxscope.interpret(net(), image()), fxscope.interpret(Classifier(), image())
    found = {name: make(lin, scores) for name, make in RECORDS.items()}
    return {
        "lin": lin,
        "lin.F": lin.F,
        "lin.F.flat": lin.F.flat,
        "reader": fxscope.prepare(net(), image()),
        "Policy": fxscope.Policy,
        **found,
    }


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_every_record_is_walked():
    kinds = [c for c in subclasses(Result) if c.__module__.startswith("fxscope.")]
    public = {c.__name__ for c in kinds if not c.__name__.startswith("_")}
    assert set(RECORDS) == public - {"Result", "VersionedResult", "Share"}  # a share is a part of another


@pytest.mark.parametrize("owner", ["lin", "lin.F", "lin.F.flat", "reader", "SVD"])
def test_every_method_is_walked(owner):
    """A public method that takes an argument is in the table, so that a new one is walked too."""
    kind = type(objects()[owner])
    takes = {
        name
        for name, value in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and len(inspect.signature(value).parameters) > 1
    }
    assert takes - INTERNAL.get(kind.__name__, set()) <= set(METHODS[owner]), takes - set(METHODS[owner])


@pytest.mark.parametrize(
    "name", [f"{owner}:{method}" for owner, table in METHODS.items() for method in table]
)
def test_wrong_arguments_of_methods(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    saved(folder)
    owner, _, method = name.partition(":")
    target = objects()[owner]
    operations = {
        "__call__": lambda v: target(v),
        "__matmul__": lambda v: target @ v,
        "__mul__": lambda v: target * v,
        "__truediv__": lambda v: target / v,
        "__add__": lambda v: target + v,
    }
    function = operations.get(method) or getattr(target, method)
    bad = []
    for value in METHODS[owner][method]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = function(value)
                if method.startswith("iter_"):
                    list(found)
                said = "it was taken"
            except Exception as error:
                said = unlike(error)
        if said:
            bad.append(f"{name}({_short(value)}): {said}")
    assert not bad, "\n".join(bad)
