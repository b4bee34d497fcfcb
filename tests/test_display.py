"""Every public result shows itself: a line, and HTML for notebooks, light or dark, and screen readers."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import json
import pickle
import re
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
import torch.fx as fx
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import fxscope
from fxscope import analysis, export, linop, plot, render, results, studies
from fxscope.emit import FORMS
from fxscope.export.check import SavedCheck
from fxscope.export.flips import Flips
from fxscope.results.display import LIMIT, LINE, Displayed
from fxscope.results.tables import Column, Table
from fxscope.rules import registry
from fxscope.testing import check_rule

EVIL = "<script>alert('x')</script>\n\"&\x00"  # what a user may call a network, an image or a label
SETTINGS = {"Policy", "Preprocess"}  # dataclasses that are given, and not results
BIG = re.compile(r"tensor\(|array\(|\[\[")


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 64, 10)

    def forward(self, x):
        return self.last(self.first(x).relu().flatten(1))


@functools.cache
def classifier() -> nn.Module:
    return type(EVIL[:-1], (Classifier,), {})().double().eval()


@functools.cache
def upscaler(norm: bool = False) -> nn.Module:
    torch.manual_seed(1)
    middle = nn.InstanceNorm2d(4) if norm else nn.ReLU()
    layers = nn.Conv2d(3, 4, 3, padding=1), middle, nn.Conv2d(4, 12, 3, padding=1), nn.PixelShuffle(2)
    return type(EVIL[:-1], (nn.Sequential,), {})(*layers).double().eval()


def photographs(count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def of_graphs() -> dict[str, Any]:
    gm = fxscope.transform(upscaler())
    forms = {f"graph {form}": fxscope.transform(classifier(), form, policy="taylor") for form in FORMS}
    return {
        "graph": gm,
        **forms,
        "Network": fxscope.to_networkx(gm),
        "Drawing": fxscope.draw(gm),
        "Summary": fxscope.summary(gm),
        "Row": fxscope.summary(gm).rows[0],
    }


def of_operators() -> dict[str, Any]:
    lin, images = fxscope.interpret(classifier(), photographs()), fxscope.interpret(upscaler(), photographs())
    F, svd = images.F, images.F.svd(3, progress=False)
    several = fxscope.interpret(classifier(), photographs(3))
    _ = lin.error, images.error, several.error
    return {
        "LinearInterpreter": lin,
        "images": images,
        "several": several,
        "TiledInterpreter": fxscope.interpret(upscaler(), photographs().repeat(1, 1, 3, 3), tile=12),
        "Reader": fxscope.prepare(classifier(), photographs()),
        "Operator": F,
        "transpose": F.T,
        "product": 2 * (F.T @ F) + F.T @ F,
        "restriction": F.restrict(inputs=(0, slice(2, 4), 3)),
        "FlatOperator": F.flat,
        "StoredMap": F.to_zarr(Path(tempfile.mkdtemp()) / "map", rows=[(0, 3, 3), (1, 2, 2)], progress=False),
        "SVD": svd,
        "Shape": svd.shapes()[0],
        "Spectrum": F.spectrum(2, 3, progress=False),
        "Estimate": F.norm("fro", progress=False),
        "Filters": F.filters(rows=[(0, 3, 3), (1, 2, 2)]),
        "columns": F.filters(columns=[(0, 3, 3)]),
        "Alignment": F.alignment(),
        "Field": F.receptive_field((0, 3, 3)),
        "LocalRow": fxscope.local_row(upscaler(), photographs(), (0, 3, 3)),
        "LocalColumn": fxscope.local_column(upscaler(), photographs(), (0, 3, 3)),
        "Measured": images.gap(photographs() + 0.1),
        "Contributions": (parts := lin.contributions(7)),
        "batch": several.contributions(7),
        "Term": parts.terms[0],
        "PixelDiscussion": lin.pixel_discussion([0, 1], progress=False),
        "PixelVotes": lin.pixel_votes(progress=False),
    }


def of_analyses() -> dict[str, Any]:
    x0, net, filters = photographs(), classifier(), torch.randn(2, 3, 9, 9)
    shares = analysis.residual_share({EVIL: net}, [(EVIL, x0)], progress=False)
    compared = fxscope.compare(x0, {EVIL: (upscaler(), "freeze"), "b": (upscaler(), "taylor")}, (0, 4, 4))
    box, places = torch.ones(8, 8, dtype=torch.bool).triu(), [(4, 4), (3, 3)]
    return {
        "LayerContributions": analysis.layer_contributions(net, photographs(2), progress=False),
        "ResidualShare": shares,
        "Share": shares.models[0],
        "Storage": (storage := fxscope.storage(net, x0.shape)),
        "Line": storage.lines[0],
        "Comparison": compared,
        "ComparisonEntry": compared.readings[0],
        "Reach": analysis.reach(upscaler(norm=True), x0, (0, 4, 4), bound=2),
        "FGSM": analysis.fgsm(net, x0, [1]),
        "VotesStudy": analysis.votes_study(net, [(EVIL, x0, box)], progress=False),
        "Faithfulness": analysis.faithfulness(net, x0, noise=[0.1], depths=1, fractions=2, progress=False),
        "Energy": analysis.energy_against_distance(filters, places),
        "Invariance": analysis.invariance(filters, places, radius=2),
        "Diagonal": analysis.diagonal(filters, places, radius=2),
        "Source": analysis.copy_move(filters[0], (4, 4), radius=2, window=3),
        "MeanMap": fxscope.mean_map(upscaler(), [x0], progress=False),
    }


def of_checks() -> dict[str, Any]:
    report = fxscope.verify(classifier(), photographs(), thorough=False)
    flips = Flips(1, 20, (EVIL,), (1e-3,))
    said = {"images": 2, "errors": 1, "numbers": {EVIL: {"mean": 0.5, "std": 0.1}}}
    films = {"title": EVIL, "scale_ends": (0.1, 0.2), "error": 1e-7}
    walked = plot.film.walks.Walk([(0, 0), (0, 1)], [])
    return {
        "Report": report,
        "Law": report.laws[0],
        "check_rule": check_rule(registry().rules["relu"]),
        "SavedCheck": SavedCheck(EVIL, "pt2", (1e-7,), 1e-5, 0.01, (flips,)),
        "Flips": flips,
        "Study": studies.Study(Path(EVIL.replace("/", "")), {EVIL: {"share": said}}),
        "Status": studies.Status(Path("folder"), 4, 2, {EVIL: {"share": (2, 4)}}, 1.0, 3.0),
        "Video": plot.Video(("film.mp4",), 2, 10.0, (160, 90), walked, "root", (films,), ()),
    }


@functools.cache
def every() -> dict[str, Any]:
    return {**of_graphs(), **of_operators(), **of_analyses(), **of_checks()}


NAMES = [
    *(f"graph {form}" for form in FORMS),
    *"""graph Network Summary Row LinearInterpreter images several TiledInterpreter Reader Operator transpose
    product restriction FlatOperator StoredMap SVD Shape Spectrum Estimate Filters columns Alignment Field
    LocalRow LocalColumn Measured Contributions batch Term PixelDiscussion PixelVotes LayerContributions
    ResidualShare Share Storage Line Comparison ComparisonEntry Reach FGSM VotesStudy Faithfulness Energy
    Invariance Diagonal Source MeanMap Report Law check_rule SavedCheck Flips Study
    Status Video""".split(),  # noqa: SIM905
]
BASES = {"Displayed", "Result", "VersionedResult", "_OnBox", "SpreadOperator", "Card"}
# parts of other results, and those of which a table says all
PLAIN = {"Summary", "Row", "Shape", "Estimate", "Alignment", "Field", "Measured", "Term", "Line", "Video"}
PLAIN |= {"ComparisonEntry", "Law", "check_rule", "SavedCheck", "Flips", "Study"}


def test_every_public_result_has_a_sample():
    rooms = (fxscope, analysis, export, linop, plot, render, studies)
    public = [getattr(room, name) for room in rooms for name in room.__all__]
    kinds = {k for k in public if inspect.isclass(k) and k.__module__.startswith("fxscope.")}
    shown = {k for k in kinds if dataclasses.is_dataclass(k) and k.__name__ not in SETTINGS} | below(
        Displayed
    )
    of_fxscope = {k for k in shown if k.__module__.startswith("fxscope.")}
    unwalked = {k.__name__ for k in of_fxscope - {type(value) for value in every().values()}}
    assert unwalked <= BASES
    assert set(NAMES) == every().keys() - {"Drawing"}


def below(kind: type) -> set[type]:
    return {kind}.union(*map(below, kind.__subclasses__()))


@pytest.mark.parametrize("name", [*NAMES, "Drawing"])
def test_the_line_is_short(name):
    value = every()[name]
    line = repr(value)
    assert "\n" not in line and line.isprintable() and len(line) <= LINE < 120 and not BIG.search(line), line
    kind = type(value).__name__
    assert line.startswith("<" if isinstance(value, fx.GraphModule) else f"{kind}("), line
    if name in ("LinearInterpreter", "Reader", "graph", "Operator", "transpose", "product", "Contributions"):
        assert "policy" in line or "freeze" in line


class Ran(TorchDispatchMode):
    """Which operators of a network ran."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.found += [name] if "conv" in name.removesuffix("_convert") or name in ("addmm", "mm") else []
        return function(*args, **kwargs or {})


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", NAMES)
def test_the_html_is_fit_to_be_shown(name):
    value = every()[name]
    with Ran() as ran:
        page = value._repr_html_()
    assert not ran.found  # the numbers are there
    assert len(page) <= LIMIT and not BIG.search(page) and "<script" not in page.lower()
    root = ElementTree.fromstring(page)
    tags = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert not {"script", "iframe", "object", "link", "foreignObject"} & set(tags)
    for element, tag in zip(root.iter(), tags):
        assert not any(attribute.lower().startswith("on") for attribute in element.attrib)
        assert tag != "img" or element.attrib["alt"].strip()
        assert tag != "svg"  # JupyterLab and GitHub take its marks away where someone else ran the notebook
        style = element.attrib.get("style", "")  # colours of text are those of the page, light or dark
        assert not re.search(r"(^|;)\s*color\s*:", style) or "background" in style
    texts = [t for element in root.iter() for t in (element.text or "", element.tail or "") if t.strip()]
    assert not [text for text in texts if text.startswith(("No table", "No picture"))], texts
    assert ("table" in tags) and (name in PLAIN or "img" in tags)


@pytest.mark.parametrize("name", ["SVD", "PixelVotes", "Contributions", "Reach"])
def test_without_matplotlib_there_is_the_table(name, monkeypatch):
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    page = every()[name]._repr_html_()
    assert "<table" in page and "<img" not in page and "pip install" in page


class Broken(Displayed):
    """Whatever it is asked fails, as it may where memory is short."""

    def _said(self):
        raise RuntimeError(EVIL)

    def _table(self):
        raise MemoryError

    def _picture(self):
        raise RecursionError("too deep")


def test_what_fails_is_said_in_its_place():
    line, page = repr(Broken()), Broken()._repr_html_()
    assert line.startswith("Broken(not shown: RuntimeError") and "\n" not in line
    assert "No table: MemoryError" in page and "No picture: RecursionError: too deep" in page
    ElementTree.fromstring(page)


@pytest.mark.parametrize("name", sorted({*NAMES} - {n for n in NAMES if n.startswith("graph")}))
def test_what_is_half_made_shows_itself(name):
    """As a debugger sees it inside of a constructor."""
    kind = type(every()[name])
    half = kind.__new__(kind)
    assert len(repr(half)) < 120
    ElementTree.fromstring(half._repr_html_())


class Large(Displayed):
    def _said(self):
        return ["x" * 500, "y"]

    def _table(self):
        return Table(("name", Column("size", "px")), [("n" * 10_000, i) for i in range(100_000)])

    def _picture(self):
        return "<b>" + "z" * LIMIT + "</b>"


def test_what_is_large_is_cut():
    line, page = repr(Large()), Large()._repr_html_()
    assert len(line) <= LINE and line.endswith("...)")
    assert len(page) < LIMIT and "99960 more rows" in page and "too large" in page and "size [px]" in page


def test_text_and_html_have_the_same_columns():
    for name, value in every().items():
        if not isinstance(value, results.base.Result):
            continue
        table, text = value._table(), str(value)
        heads = [c.strip() for c in re.findall(r"<th[^>]*>([^<]*)</th>", table.html())]
        lines = text.splitlines()
        assert not heads or any(
            all(head in unescaped(line) for head in map(unescaped, heads)) for line in lines
        ), name
        assert not BIG.search(text) and len(lines) >= len(table.rows)


def unescaped(text: str) -> str:
    for code, letter in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#x27;", "'"), ("&amp;", "&")):
        text = text.replace(code, letter)
    return text


def test_operators_say_how_they_are_made():
    F = every()["Operator"]
    named = {F: "F", F.T: "F^T", F.T.T: "F", F.T @ F: "F^T F", (F.T @ F).T: "(F^T F)^T", 2 * F: "2 F"}
    named |= {
        F + F: "F + F",
        (F + F).T @ F: "(F + F)^T F",
        F.T @ (F - F): "F^T (F + -1 F)",
        2 * (F + F): "2 (F + F)",
    }
    for operator, name in named.items():
        assert repr(operator).startswith(f"Operator({name}, ")


def test_a_graph_is_copied_scripted_and_pickled_as_before():
    gm, x = fxscope.transform(upscaler()), photographs()
    again = copy.deepcopy(gm)
    assert (
        repr(again).partition(" as ")[2] == repr(gm).partition(" as ")[2] and "<table" in again._repr_html_()
    )
    for other in (again, pickle.loads(pickle.dumps(gm)), torch.jit.script(gm)):
        assert torch.equal(other(x, x)[1], gm(x, x)[1])


def test_a_graph_of_networkx_shows_itself():
    """Copies and subgraphs too; what the README promises."""
    graph = every()["Network"]
    for other in (graph, graph.copy(), graph.subgraph(list(graph)[:5]), graph.reverse()):
        assert "nodes" in repr(other) and "<table" in other._repr_html_()
    assert "data:image/svg" in graph._repr_html_() and json.dumps(sorted(graph.nodes))


def test_ipython_takes_the_html():
    formatters = pytest.importorskip("IPython.core.formatters")
    assert "data:image/svg" in formatters.HTMLFormatter()(every()["graph"])
    for name in ("Operator", "Storage", "LinearInterpreter"):
        value = every()[name]
        assert formatters.HTMLFormatter()(value) == value._repr_html_()
        assert formatters.PlainTextFormatter()(value) == repr(value)
