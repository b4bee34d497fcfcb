"""Every kind of figure of the contact sheet: its numbers, and what all figures promise."""

from __future__ import annotations

import itertools
import json
import re
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from chosen import chosen
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.legend import Legend
from matplotlib.text import Text
from torch import nn

import fxscope
from fxscope import analysis
from fxscope.errors import ShapeError, WrongArgument
from fxscope.plot.depth import MANY, blocks, condensed
from fxscope.plot.layers import layers
from fxscope.plot.style import COLUMN, PAGE, SLIDE, SMALL, TEXT
from fxscope.studies.page import _panel
from fxscope.testing import contact_sheet

NUMBERS = json.loads((Path(__file__).parent / "figures.json").read_text(encoding="utf-8"))
LONG = chosen(
    {
        "heatmap_of_a_score",
        "eigen_scores",
        "contributions",
        "layers_of_a_deep_network",
        "discussion",
        "votes",
        "reach",
        "comparison",
        "shapes",
        "faithfulness",
    },
    contact_sheet.FIGURES,
)
WIDE = {
    *("heatmap_in_channels", "column", "eigen_images", "grid", "invariance", "tokens", "by_layer"),
    *(LONG - {"reach", "comparison"}),
}
NAMES = [pytest.param(n, marks=[pytest.mark.full] if n in LONG else []) for n in contact_sheet.FIGURES]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@cache
def kit() -> contact_sheet.Kit:
    return contact_sheet.Kit()


@cache
def made(name: str) -> Any:
    return contact_sheet.FIGURES[name](kit())


def alike(found: Any, kept: Any, where: str = "") -> None:
    """The same structure and words, and numbers to two digits or a fiftieth of a panel."""
    if isinstance(kept, dict):
        assert found.keys() == kept.keys(), where
        for key in kept:
            alike(found[key], kept[key], f"{where}/{key}")
    elif isinstance(kept, list):
        assert len(found) == len(kept), (where, found, kept)
        for i, (a, b) in enumerate(zip(found, kept)):
            alike(a, b, f"{where}/{i}")
    elif isinstance(kept, str):
        assert NUMBER.sub("#", found) == NUMBER.sub("#", kept), (where, found, kept)
        numbers = [list(map(float, NUMBER.findall(text))) for text in (found, kept)]
        assert numbers[0] == pytest.approx(numbers[1], rel=0.02), (where, found, kept)
    else:
        assert found == pytest.approx(kept, rel=0.02, abs=0.02 if "position" in where else 0), where


@pytest.mark.turns(4)
@pytest.mark.parametrize("name", NAMES)
def test_figures_have_the_numbers_that_were_looked_at(name):
    """If a figure was changed on purpose: look at it, and write the numbers again with ``--numbers``."""
    alike(contact_sheet.described(made(name)), NUMBERS[name], name)


def test_the_numbers_are_those_of_all_figures():
    assert NUMBERS.keys() == contact_sheet.FIGURES.keys() >= LONG


@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_cut_or_covered_or_small(name):
    check_texts(made(name))


@pytest.mark.parametrize("name", [p for p in NAMES if p.values[0] in WIDE])
def test_no_text_is_cut_or_covered_or_small_in_one_column(name):
    with fxscope.plot.look(size="column", captions=False):
        figure = contact_sheet.FIGURES[name](kit())
    assert figure.get_figwidth() == COLUMN < PAGE == made(name).get_figwidth()
    assert figure.alt == made(name).alt
    check_texts(figure)


def unseen(figure) -> set[Text]:
    """The labels of ticks that are not drawn, and the texts of legends, which keep them apart."""
    found = {text for legend in figure.findobj(Legend) for text in legend.findobj(Text)}
    for axis in figure.axes:
        for each in (axis.xaxis, axis.yaxis):
            low, high = sorted(each.get_view_interval())
            for tick in (*each.get_major_ticks(), *each.get_minor_ticks()):
                if not axis.axison or not low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                    found |= {tick.label1, tick.label2}
    return found


def check_texts(figure) -> None:
    """All texts lie within the figure, none on another, none smaller than the smallest of the house."""
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    box, whole = figure.get_tightbbox(renderer), figure.get_size_inches()
    assert box.x0 > -0.02 and box.y0 > -0.02 and box.x1 < whole[0] + 0.02 and box.y1 < whole[1] + 0.02, box
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    assert min(t.get_fontsize() for t in texts) >= SMALL
    hidden = unseen(figure)
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t not in hidden]
    boxes += [("legend", legend.get_window_extent(renderer)) for legend in figure.findobj(Legend)]
    for (a, first), (b, second) in itertools.combinations(boxes, 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        high = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert not (wide > 1 and high > 1), f"{a!r} and {b!r} overlap"


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_says_in_words_what_it_shows(name):
    figure = made(name)
    caption = " ".join(" ".join(o.get_supxlabel() for o in (figure, *figure.subfigs)).split())
    said = " ".join(figure.alt.split())
    assert len(said) > len(caption) + 20 and caption.split(";")[0].split(":")[0] in said
    about = ("fxscope:", "random weights", "photographs of scikit-image")
    assert any(words in caption for words in about)
    assert contact_sheet.heading(figure) or name in ("images", "images_of_a_list", "signed_images")
    bars = [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]
    assert all(bar.get_ylabel() for bar in bars), "a colour bar says what its numbers are"


class Small(nn.Module):
    """Scores with an instance norm, or an image; a name to be found in captions."""

    def __init__(self, image: bool = False):
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.InstanceNorm2d(3)
        self.last = nn.Conv2d(3, 1, 3, padding=1) if image else nn.Linear(3 * 64, 4)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        return self.last(x if isinstance(self.last, nn.Conv2d) else x.flatten(1))


def _records() -> dict[str, Any]:
    torch.manual_seed(0)
    scores, image = Small().double().eval(), Small(image=True).double().eval()
    x0 = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    box = torch.zeros(8, 8, dtype=torch.bool)
    box[:4] = True
    lin, given = fxscope.interpret(scores, x0, policy="taylor"), [("one", x0, box)]
    return {
        "contributions": lin.contributions(1),
        "discussion": lin.pixel_discussion([0, 1], progress=False),
        "votes": lin.pixel_votes(progress=False),
        "svd": lin.F.svd(2, progress=False),
        "spectrum": lin.F.spectrum(probes=2, steps=3, progress=False),
        "row": lin.F.filters(rows=[1], progress=False),
        "layers": analysis.layer_contributions(scores, x0, policy="taylor", progress=False),
        "share": analysis.residual_share(scores, [("one", x0)], policy="taylor", progress=False),
        "fgsm": analysis.fgsm(scores, x0),
        "study": analysis.votes_study(scores, given, policy="taylor", progress=False),
        "reach": analysis.reach(image, x0, (0, 3, 3)),
        "comparison": fxscope.compare(x0, ["freeze", "taylor"], at=(0, 3, 3), model=image),
        "faithful": analysis.faithfulness(
            scores, x0, policies=("taylor",), top=2, depths=1, fractions=2, noise=[0.1], progress=False
        ),
    }


def test_a_record_drawn_alone_or_from_a_file_says_what_it_is_of(tmp_path):
    for name, record in _records().items():
        figure = record.plot()
        said = " ".join(figure.alt.split())
        assert re.search(r"Small, weights [0-9a-f]{6}", said) and "float64" in said, (name, said)
        policies = {"fgsm": [], "reach": ["taylor"], "comparison": ["freeze", "taylor"]}.get(
            name, ["policy taylor"]
        )
        shown = said + " ".join(axis.get_title() for axis in figure.axes)
        assert all(policy in shown for policy in policies), (name, shown)
        photographs = [image for axis in figure.axes for image in axis.images if axis.get_title() == "input"]
        assert len(photographs) == (name in ("contributions", "discussion", "votes", "reach", "comparison"))
        record.save(tmp_path / f"{name}.safetensors")
        again = type(record).load(tmp_path / f"{name}.safetensors").plot()
        assert again.alt == figure.alt, name


def test_files_hold_text_as_text_and_say_what_they_show(tmp_path):
    figure = made("row")
    for suffix in ("svg", "pdf", "png"):
        figure.savefig(tmp_path / f"row.{suffix}")
    svg = (tmp_path / "row.svg").read_text()
    assert ">receptive filter of y0[0, 90, 70] = " in svg and "The receptive filter of y0" in svg
    pdf = (tmp_path / "row.pdf").read_bytes()
    assert b"/Type3" not in pdf and b"/FontFile2" in pdf
    assert b"The receptive filter of y0" in (tmp_path / "row.png").read_bytes()


def streams(pdf: bytes) -> bytes:
    """All that a PDF draws, without the compression."""
    found = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    return b"\n".join(zlib.decompress(each) for each in found if each[:1] == b"x")


def test_a_paper_includes_figures_in_their_own_size(tmp_path):
    """Pages as wide as the columns, fonts that are embedded as TrueType, no letter below 6 points."""
    contact_sheet.main(["row", "images", "layers", "--latex", str(tmp_path)])
    text = (tmp_path / "paper.tex").read_text()
    widths = {"row-column": 252, "row-page": 515.52, "images-column": 252, "layers-column": 252}
    assert {p.stem for p in tmp_path.glob("*.pdf")} == widths.keys()
    for name, points in widths.items():
        pdf = (tmp_path / f"{name}.pdf").read_bytes()
        box = re.search(rb"/MediaBox \[([^\]]*)\]", pdf)[1].split()
        assert float(box[2]) - float(box[0]) == pytest.approx(points, abs=1e-3)
        assert b"/FontFile2" in pdf and b"/Type3" not in pdf
        sizes = {float(size) for size in re.findall(rb"/\S+ ([\d.]+) Tf", streams(pdf))}
        assert sizes and sizes <= {SMALL, TEXT}
        kind, width = ("figure*", "textwidth") if points > 252 else ("figure", "columnwidth")
        lines = rf"\begin{{{kind}}}\n  \centering\n  \includegraphics[width=\{width}]{{{name}.pdf}}"
        assert lines.replace(r"\n", "\n") in text
    assert r"pixelshuffle4x, weights" in text and "textwidth=7.16in" in text and "columnsep=0.16in" in text


def test_captions_of_latex_hold_no_letters_that_latex_reads():
    figure = fxscope.plot.images([torch.rand(3, 8, 8)], text=r"50% of a_b & {c} ~ ^ # $1 <|>")
    figure.alt += "\\"
    _, caption = figure.latex("a/b_c.pdf").split(r"\caption{", 1)
    said = caption.split("\n")[0][:-1]
    assert not re.search(r"(?<!\\)[#$%&_~^<|>]", said) and r"50\% of a\_b \& \{c\}" in said
    assert said.endswith(r"\textbackslash{}") and r"\label{fig:b_c}" in caption


def test_a_look_is_dark_or_large_and_ends():
    values = torch.rand(1, 9, 9)
    usual = fxscope.plot.row(values, text="a caption")
    with fxscope.plot.look("dark", "slide", captions=False):
        dark = fxscope.plot.row(values, text="a caption")
        dark.draw_without_rendering()
    assert dark.get_supxlabel() == "" and dark.alt == usual.alt and "a caption" in dark.alt
    assert dark.get_figwidth() == pytest.approx(SLIDE * usual.get_figwidth())
    assert min(t.get_fontsize() for t in dark.findobj(Text)) == pytest.approx(SLIDE * SMALL)
    assert max(dark.get_facecolor()[:3]) < 0.2 < 0.9 < min(usual.get_facecolor()[:3])
    zero = dark.axes[0].images[0].cmap(0.5)[:3]
    assert max(zero) < 0.2 and usual.get_supxlabel()
    again = fxscope.plot.row(values)
    assert again.get_figwidth() == usual.get_figwidth() and min(again.get_facecolor()[:3]) > 0.9
    for wrong in ({"theme": "blue"}, {"size": "poster"}):
        with pytest.raises(WrongArgument, match="look"), fxscope.plot.look(**wrong):
            pass


def test_a_heatmap_is_the_row_over_its_image():
    lin = kit().upscaler
    figure = fxscope.plot.heatmap(lin, (0, 90, 70))
    assert figure.get_suptitle() == f"receptive filter of y0[0, 90, 70] = {float(lin.y0[0, 0, 90, 70]):.4g}"
    zoom = figure.axes[3].images[0].get_array()
    assert torch.equal(torch.from_numpy(zoom.data), lin.F.row((0, 90, 70))[0])
    assert f"F x0 + r = y0 to {lin.error:.0e}" in " ".join(figure.get_supxlabel().split())
    column = fxscope.plot.heatmap(lin, (0, 22, 18), column=True)
    assert column.axes[3].images[0].get_array().shape == tuple(lin.y0.shape[2:])
    both = fxscope.interpret(kit().random, kit().batch[:2])
    with pytest.raises(ShapeError, match="one image"):
        fxscope.plot.heatmap(both, 0)
    with pytest.raises(ShapeError, match="a column lies over the output"):
        fxscope.plot.heatmap(fxscope.interpret(kit().random, kit().batch[:1]), (0, 1, 1), column=True)


@pytest.mark.parametrize("top", [1, 5, 14])
def test_the_bars_of_a_deep_network_hold_every_part_once(top):
    names = ["F x0", "stem", *(f"stage{s}.{i}.conv{j}" for s in range(4) for i in range(7) for j in (1, 2))]
    names += ["head.fc"]
    sizes = torch.randn(len(names), generator=torch.Generator().manual_seed(0)).numpy()
    bars = condensed(names, sizes, 1, top)
    assert sorted(i for bar in bars for i in bar.parts) == list(range(len(names))) and bars[0].parts == (0,)
    alone = [bar.parts[0] for bar in bars[1:] if not bar.is_rest]
    largest = sorted(range(1, len(names)), key=lambda i: -abs(sizes[i]))[:top]
    assert set(largest) <= set(alone)
    firsts = [min(bar.parts) for bar in bars if not bar.is_rest]
    assert firsts == sorted(firsts)
    few = condensed(names[: MANY + 1], sizes[: MANY + 1], 1, top)
    assert [bar.name for bar in few] == names[: MANY + 1]


def test_blocks_are_prefixes_of_their_names():
    names = [f"features.block{b}.layer{i}.conv" for b in range(4) for i in range(20)] + ["classifier"]
    found = blocks(names)
    assert len(set(found)) <= 20 and max(map(found.count, set(found))) <= len(names) // 4
    for name, block in zip(names, found):
        run = re.fullmatch(r"(.*?)(\w*?)(\d+)\u2013\w*?(\d+)", block)
        if run is None:
            assert name.startswith(block)
        else:
            number = int(re.match(r"\d+", name.removeprefix(run[1] + run[2]))[0])
            assert int(run[3]) <= number <= int(run[4])


def test_a_batch_of_names_is_said_beside_its_votes():
    """Wins lie on a light ground, colours have names, and noise is said in numbers."""
    lin = fxscope.interpret(kit().random, kit().batch[:1])
    found = lin.pixel_votes(progress=False)
    names = [f"a class with a long name, number {i}" for i in range(10)]
    figure = found.plot(names=names)
    (legend,) = figure.legends
    said = [t.get_text() for t in legend.get_texts()]
    assert said[0].startswith(names[next(iter(found.popularity))]) and len(said) == 7
    assert f"entropy {found.entropy:.2f} of at most 3.32 bits" in figure.alt and "by chance 10%" in figure.alt
    shown = figure.axes[2].images[0].get_array()
    label = next(iter(found.popularity))
    lost = ~found.mask(label).numpy()
    assert shown[lost].min() > 0.75 and shown[~lost].min() < 0.6


def test_a_study_that_keeps_means_draws_them():
    """A bar of one layer has its deviation; of a sum of layers a study keeps none."""
    names = ["F x0", *(f"layer{i}" for i in range(MANY + 9))]
    curve = {"mean": [1 / len(names)] * len(names), "std": [0.01] * len(names)}
    kept = _panel({"parts": names, "curves": {"shares": curve}, "images": 3, "zero": "x = 0"}, 2)
    figure = layers({"net": kept})
    widths = [bar.get_width() for bar in figure.axes[0].patches[: len(figure.axes[0].get_yticks())]]
    assert sum(widths) == pytest.approx(100, abs=1e-9) and "means over 3 images" in figure.alt


@pytest.mark.full
def test_the_sheet_is_written(tmp_path):
    contact_sheet.main(
        ["images", "row", "-o", str(tmp_path / "sheet.html"), "--folder", str(tmp_path / "all")]
    )
    text = (tmp_path / "sheet.html").read_text()
    assert text.count("<figure") == 2 and text.count("data:image/png") == 4
    assert {p.name for p in (tmp_path / "all").iterdir()} >= {"row.pdf", "row.svg", "images.dark.png"}
    with pytest.raises(SystemExit):
        contact_sheet.main(["nothing"])
