"""The rewritten graph for people: its networkx form and law 9, the summary, the picture."""

from __future__ import annotations

import base64
import functools
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import networkx
import pytest
import torch
import torchvision
from drawn import crossed
from torch import fx, nn

import fxscope
from fxscope import models
from fxscope.errors import FxscopeError
from fxscope.graph.ir import info, mark
from fxscope.render import crossings
from fxscope.render.palette import FAMILIES, MUTED, PALETTE, TEXT

SVG = "{http://www.w3.org/2000/svg}"


class Squeeze(nn.Module):
    """A squeeze-and-excitation block with a skip connection."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(2, 4)
        self.down, self.up = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x):
        y = torch.nn.functional.leaky_relu(self.norm(self.conv(x)), 0.1)
        gate = torch.sigmoid(self.up(torch.relu(self.down(y.mean((2, 3), keepdim=True)))))
        return torch.clamp(x + y * gate, -1, 1)


NETWORKS = {
    "resnet18": lambda: torchvision.models.resnet18(weights=None).eval(),
    "densenet121": lambda: torchvision.models.densenet121(weights=None).eval(),
    "inception_v3": lambda: torchvision.models.inception_v3(weights=None, init_weights=False).eval(),
    "squeeze": Squeeze,
    "edsr": lambda: models.build("edsr_baseline4x"),
    "cyclegan": models.cyclegan,
}


@functools.cache
def graph(name: str, emit: str = "pair") -> fx.GraphModule:
    return fxscope.transform(NETWORKS[name](), emit=emit)


@pytest.mark.turns(3)
@pytest.mark.parametrize(("name", "emit"), crossed(NETWORKS, ["pair", "filter", "residual"]))
def test_law_9(name, emit):
    found = fxscope.to_networkx(graph(name, emit))
    assert crossings(found) == [] and networkx.is_directed_acyclic_graph(found)
    outputs = [n for n, d in found.nodes(data=True) if d["branch"] == "original" and d["role"] != "const"]
    probes = [
        n for n, d in found.nodes(data=True) if d["branch"] == "interpreter" and d["op"] == "placeholder"
    ]
    assert all(networkx.descendants(found, p).isdisjoint(outputs) for p in probes)


def test_crossings_finds_every_kind_of_breach():
    found = fxscope.to_networkx(graph("squeeze"))
    original, twin = "conv", "conv_twin"
    for edge in ({"kind": "data", "label": ""}, {"kind": "freeze", "label": "size"}):
        broken = found.copy()
        broken.add_edge(original, twin, **edge)
        assert crossings(broken) == [(original, twin)]
    broken = found.copy()
    broken.add_edge(twin, original, kind="freeze", label="mask")
    assert crossings(broken) == [(twin, original)]


def test_networkx_says_what_the_nodes_say():
    gm = graph("squeeze")
    found = fxscope.to_networkx(gm)
    for node in gm.graph.nodes:
        assert (
            found.nodes[node.name]["role"] == info(node).role
            and found.nodes[node.name]["source"] == info(node).source
        )
    labels = {d["label"] for *_, d in found.edges(data=True) if d["kind"] == "freeze"}
    assert {"mask", "stats", "gate"} <= labels
    assert found.edges["conv_weight", "conv"]["kind"] == "parameter"


def test_a_plain_traced_graph_has_data_edges_only():
    found = fxscope.to_networkx(fx.symbolic_trace(Squeeze()))
    assert {d["kind"] for *_, d in found.edges(data=True)} == {"data"}
    assert {d["branch"] for _, d in found.nodes(data=True)} == {None}


def test_summary_of_a_gated_network():
    table = fxscope.summary(graph("squeeze"))
    rows = {row.rule: row for row in table.rows}
    assert (
        rows["mul"].frozen == "gate"
        and rows["group_norm"].frozen == "stats"
        and "mask" in rows["clamp"].frozen
    )
    assert rows["conv2d"].twin == "" and rows["sigmoid"].twin == "", "the squeeze runs on x0 only"
    assert (
        "y * gate" in rows["mul"].source
        and rows["group_norm"].module == "norm"
        and rows["group_norm"].place == "norm"
    )
    assert (
        table.nonlinearities["mul"] == 1
        and table.freezes["stats"] == 1
        and set(table.nodes) == {"original", "interpreter"}
    )


def test_summary_counts_operations():
    table = fxscope.summary(graph("resnet18"))
    assert table.nonlinearities == {"relu": 17, "max_pool2d": 1} and table.freezes == {"mask": 17, "index": 1}
    # input, stem, four stages, head
    assert {row.role for row in table.rows} == {"affine"} and len(table.rows) == 1 + 4 + 14 + 3 * 16 + 3
    assert len(fxscope.summary(graph("resnet18", "filter")).rows) == len(table.rows), (
        "operations that only the interpreter has are rows too"
    )


def test_summary_reads_as_text_html_and_json():
    table = fxscope.summary(graph("squeeze"))
    header, blank, columns, *lines = str(table).splitlines()
    assert "nonlinearities" in header and blank == "" and len(lines) == len(table.rows)
    assert all(
        line.startswith(row.node) and line[columns.index("rule") :].startswith(row.rule)
        for row, line in zip(table.rows, lines)
    )
    page = ElementTree.fromstring(table._repr_html_())
    assert len(list(page.iter("tr"))) == len(table.rows) + 1 and "http" not in table._repr_html_()
    assert json.loads(table.to_json())["rows"][0]["node"] == "x0"


def inside(a, b) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def segments(path: str):
    """The straight hulls (x0, y0, x1, y1) of the pieces of an SVG path of absolute M, H, V, Q and C."""
    x = y = 0.0
    for command, text in re.findall(r"([MHVQC])([^MHVQC]*)", path):
        numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", text)]
        before = x, y
        x = x if command == "V" else numbers[0] if command == "H" else numbers[-2]
        y = y if command == "H" else numbers[-1]
        if command != "M":
            yield before[0], before[1], x, y


def edges(drawing, kind: str) -> list:
    paths = ElementTree.fromstring(drawing.svg).iter(f"{SVG}path")
    return [
        p
        for p in paths
        if kind in p.get("class", "").split() and ("marker-end" in p.attrib or "marker-start" in p.attrib)
    ]


def through(drawing) -> list:
    """Edges that run through the inside of a box."""
    found = []
    for path in edges(drawing, "data") + edges(drawing, "freeze"):
        for x0, y0, x1, y1 in segments(path.get("d")):
            hull = min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)
            found += [
                name
                for name, (x, y, w, h) in drawing.boxes.items()
                if inside(hull, (x + 1.5, y + 1.5, w - 3, h - 3))
            ]
    return found


def columns(drawing) -> tuple[dict, dict]:
    parts = {"original": {}, "interpreter": {}}
    for name, box in drawing.boxes.items():
        branch, _, key = name.partition(" ")
        parts[branch][key] = box
    return parts["original"], parts["interpreter"]


@pytest.mark.turns(3)
@pytest.mark.parametrize(
    ("name", "emit", "fold"), crossed(NETWORKS, ["pair", "filter", "residual"], [True, False, 1])
)
def test_drawings_are_clear(name, fold, emit):
    gm = graph(name, emit)
    drawing = fxscope.draw(gm, fold)
    boxes = list(drawing.boxes.values())
    assert not [1 for i, a in enumerate(boxes) for b in boxes[:i] if inside(a, b)], "boxes overlap"
    assert through(drawing) == [], "an edge runs through a box"
    left, right = columns(drawing)
    assert max(x + w for x, _, w, _ in left.values()) < min(x for x, *_ in right.values())
    assert all(
        abs(left[key][1] + left[key][3] / 2 - right[key][1] - right[key][3] / 2) < 0.1
        for key in left.keys() & right.keys()
    )
    labels = {
        label
        for node in gm.graph.nodes
        if info(node).branch == "interpreter"
        for label in info(node).freezes.values()
    } - {"size"}
    captions = [
        t
        for t in ElementTree.fromstring(drawing.svg).iter(f"{SVG}text")
        if t.get("class", "").startswith("caption")
    ]
    assert {t.text.partition(" ")[0] for t in captions} == labels and len(captions) == len(
        edges(drawing, "freeze")
    )


def test_edge_checks_see_what_they_should():
    drawing = fxscope.draw(graph("squeeze"))
    name, (x, y, w, h) = next(
        (name, box) for name, box in drawing.boxes.items() if name.startswith("original mul")
    )
    crossing = f'<path class="data" marker-end="" d="M{x - 5:.1f} {y + h / 2:.1f}H{x + w + 5:.1f}"/></svg>'
    assert through(type(drawing)(drawing.svg.replace("</svg>", crossing), drawing.boxes)) == [name]


def test_folded_and_full():
    folded, full = fxscope.draw(graph("resnet18")), fxscope.draw(graph("resnet18"), fold=False)
    operations = {row.node for row in fxscope.summary(graph("resnet18")).rows}
    assert set(columns(full)[0]) == set(columns(full)[1]) == operations | {"output"}
    assert len(folded.boxes) < 60 < len(full.boxes)
    words = " ".join(ElementTree.fromstring(folded.svg).itertext())
    assert all(
        said in words
        for said in (
            "layer1.1",
            "BasicBlock",
            "7 operations, as layer1.0",
            "2 × Sequential",
            "16 twins each, as layer2",
            "mask ×8",
        )
    )


@pytest.mark.full
def test_the_adjoint_folds_as_the_pair_does():
    """Its tape runs against the original branch, which closes no cycle.

    Modules in a row are one box in both.
    """
    for name, block in (("resnet18", "layer3 to layer4"), ("cyclegan", "model.11 to 18")):
        model = (
            torchvision.models.resnet18(weights=None).eval()
            if name == "resnet18"
            else models.cyclegan().eval()
        )
        found = {form: fxscope.draw(fxscope.transform(model, form)) for form in ("filter", "adjoint")}
        assert (
            len(found["adjoint"].boxes) <= len(found["filter"].boxes) + 1 and block in found["adjoint"].svg
        ), name


def test_blocks_in_a_row_and_shared_modules_fold():
    words = "".join(ElementTree.fromstring(fxscope.draw(graph("edsr")).svg).itertext())
    assert "15 × ResBlock" in words and "5 operations each, as body.0" in words and "mask ×15" in words


def test_a_depth_folds_every_module_at_it():
    left, right = columns(fxscope.draw(graph("resnet18"), fold=1))
    assert len(left) == len(right) == 1 + 4 + 4 + 3 + 1  # input, stem, four stages, head, output


def test_hover_text_has_formula_parameters_and_line():
    titles = [
        "".join(t.itertext())
        for t in ElementTree.fromstring(fxscope.draw(graph("squeeze")).svg).iter(f"{SVG}title")
    ]
    assert any(
        "norm.weight (4,)" in t and "rule group_norm" in t and "stats:" in t and "test_render.py" in t
        for t in titles
    )
    assert sum("no twin" in t for t in titles) == 5


def test_a_tap_stands_beside_its_place():
    gm = fxscope.transform(NETWORKS["resnet18"](), inputs="layer3", outputs="layer4.0.relu")
    drawing = fxscope.draw(gm, False)
    left, right = columns(drawing)
    top = min(right, key=lambda key: right[key][1])
    assert top == "layer3_1_relu_1" and abs(left[top][1] - right[top][1]) < 0.1 and not through(drawing)


def test_plain_traced_and_exported_graphs_are_one_column():
    model = NETWORKS["resnet18"]()
    exported = torch.export.export(model, (torch.rand(1, 3, 64, 64),)).module()
    for gm in (fx.symbolic_trace(model), exported):
        drawing = fxscope.draw(gm)
        assert (
            all(name.startswith("graph ") for name in drawing.boxes)
            and not through(drawing)
            and not edges(drawing, "freeze")
        )
        assert "BasicBlock" in drawing.svg and "conv" in drawing.svg.lower()


def test_an_interpreter_that_runs_backwards():
    gm = fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Conv2d(1, 1, 3)))
    nodes = [mark(n, branch="original", role="affine") for n in gm.graph.nodes if n.op != "output"]
    output = next(n for n in gm.graph.nodes if n.op == "output")
    with gm.graph.inserting_before(output):
        value = mark(gm.graph.placeholder("y2"), branch="interpreter", role="affine", origin=nodes[-1].name)
        for node in reversed(nodes[:-1]):
            value = mark(
                gm.graph.call_function(torch.neg, (value,)),
                branch="interpreter",
                role="affine",
                twin="conv",
                origin=node.name,
            )
    drawing = fxscope.draw(gm)
    _, right = columns(drawing)
    assert right[nodes[0].name][1] < right[nodes[-1].name][1]
    assert sum("marker-start" in p.attrib for p in edges(drawing, "data")) == len(nodes) - 1


@pytest.mark.parametrize("name", ["squeeze", "resnet18"])
def test_the_adjoint_is_drawn_upwards(name):
    drawing = fxscope.draw(graph(name, "adjoint"))
    left, right = columns(drawing)
    start, end = right["output"], right["x0"]
    assert (
        end[1] == left["x0"][1] < start[1]
        and start[1] == max(y for _, y, _, _ in right.values())
        and not through(drawing)
    )
    words = " ".join(ElementTree.fromstring(drawing.svg).itertext())
    assert "y2" in words and "x2" in words and "x1 = 0" not in words


def test_a_click_on_a_box_opens_its_card():
    drawing = fxscope.draw(graph("squeeze"))
    page = drawing.clickable()
    links, cards = (
        re.findall(r'<a href="#([^"]+-card)"', page),
        re.findall(r'<div class="fxscope-card" id="([^"]+)"', page),
    )
    assert links and sorted(links) == sorted(cards)
    assert re.findall("<script[^>]*>", page.replace(re.search('data-rules="[^"]*"', page)[0], "")) == [
        '<script type="text/plain" class="fxscope-data" >'
    ], "data, which no browser runs"
    card = next(c for c in drawing.cards if c.name.startswith("normalize"))
    assert (
        any("rule group_norm" in line for line in card.lines)
        and any("test_render.py" in line for line in card.lines)
        and card.code
    )
    assert "<style" in page and "<style" not in drawing.clickable(page_style=True)


def test_each_value_that_goes_upwards_has_one_arrow():
    """What joins the trunk of a box has no arrow of its own in the middle of the trunk."""
    drawing = fxscope.draw(graph("resnet18", "adjoint"))
    paths = [p for p in ElementTree.fromstring(drawing.svg).iter(f"{SVG}path") if p.get("class") == "data"]
    plain = [p for p in paths if "marker-start" not in p.attrib and "marker-end" not in p.attrib]
    assert plain
    for path in plain:
        x, y = map(float, re.match(r"M([\d.]+) ([\d.]+)", path.get("d")).groups())
        along = [
            q
            for q in paths
            if q not in plain
            for a, b, c, d in segments(q.get("d"))
            if a == c == x and min(b, d) <= y <= max(b, d)
        ]
        assert along, "it begins on a path that has an arrow"


def test_two_drawings_share_a_page():
    first, second = fxscope.draw(graph("squeeze")), fxscope.draw(graph("squeeze"))
    names = [ElementTree.fromstring(d.svg).get("id") for d in (first, second)]
    assert names[0] != names[1]
    assert first.svg.replace(names[0], names[1]) == second.svg and first.boxes == second.boxes
    root = ElementTree.fromstring(first.svg)
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(set(ids)) == len(ids) and all(i.startswith(names[0]) for i in ids)
    assert set(re.findall(r"url\(#([^)]*)\)", first.svg)) <= set(ids)
    sheet = root.find(f"{SVG}style").text.replace("@media screen and (prefers-color-scheme:dark){", "")
    assert all(
        rule.startswith(f"#{names[0]} ")
        for selectors in re.findall(r"([^{}]+)\{", sheet)
        for rule in selectors.split(",")
    )


def test_drawings_need_nothing_from_outside():
    svg = fxscope.draw(graph("squeeze")).svg
    assert (
        "http" not in svg.replace("http://www.w3.org/2000/svg", "")
        and "<script" not in svg
        and "@import" not in svg
    )
    assert "prefers-color-scheme:dark" in svg and "system-ui" in svg


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return sum(
        w * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
        for w, c in zip((0.2126, 0.7152, 0.0722), parts)
    )


@pytest.mark.parametrize("page", ["", "dark_"])
@pytest.mark.parametrize("kind", PALETTE)
def test_contrast(page, kind):
    def contrast(a, b):
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    line, fill = getattr(PALETTE[kind], f"{page}line"), getattr(PALETTE[kind], f"{page}fill")
    assert contrast(getattr(TEXT, f"{page}line"), fill) >= 7
    assert contrast(line, getattr(TEXT, f"{page}fill")) >= 4.5
    assert contrast(getattr(MUTED, f"{page}line"), fill) >= 4.5


def test_colours_are_those_of_the_twins():
    root = ElementTree.fromstring(fxscope.draw(graph("squeeze"), False).svg)
    kinds = {
        "".join(g.find(f"{SVG}text").itertext()).split(" ")[0]: g.get("class")
        for g in root.iter(f"{SVG}g")
        if g.get("class", "").startswith("box")
    }
    assert "normalize" in kinds["group_normnorm"] and "gate" in kinds["mul"] and "mask" in kinds["clamp"]
    assert set(FAMILIES.values()) <= set(PALETTE)


def test_drawings_show_and_save_themselves(tmp_path):
    drawing = fxscope.draw(graph("squeeze"))
    shown = ElementTree.fromstring(drawing._repr_html_()).find("img")
    again = base64.b64decode(shown.attrib["src"].partition(",")[2]).decode()
    assert again.count("<rect") == drawing.svg.count("<rect") and "dark" not in again
    assert "original branch" in shown.attrib["alt"]
    assert drawing._repr_svg_() == drawing.svg and "boxes" in repr(drawing)
    drawing.save(tmp_path / "a.svg")
    drawing.save(tmp_path / "a.html")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == drawing.svg and "<!doctype html>" in (
        tmp_path / "a.html"
    ).read_text(encoding="utf-8")
    with pytest.raises(FxscopeError, match=r"\.svg or \.html"):
        drawing.save(tmp_path / "a.png")


def test_small_graphs():
    for model, count in ((nn.Sequential(), 4), (nn.ReLU(), 6)):
        gm = fxscope.transform(model)
        assert len(fxscope.draw(gm).boxes) == count and fxscope.summary(gm).rows


@pytest.mark.parametrize("function", [fxscope.draw, fxscope.summary, fxscope.to_networkx])
def test_a_model_is_not_a_graph(function):
    with pytest.raises(FxscopeError, match=r"fxscope.transform"):
        function(nn.ReLU())


@pytest.mark.parametrize("fold", [0, -1, "all", None])
def test_bad_folds(fold):
    with pytest.raises(FxscopeError, match="fold"):
        fxscope.draw(graph("squeeze"), fold)


def test_drawing_without_igraph_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(FxscopeError, match=r"fxscope\[draw\]"):
        fxscope.draw(graph("squeeze"))


@pytest.mark.full
def test_rendering_is_light_to_import():
    code = "import sys, fxscope.render; print([m for m in ('igraph', 'matplotlib') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
