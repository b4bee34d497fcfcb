"""Every kind of figure of the contact sheet: its numbers, and what all figures promise."""

from __future__ import annotations

import itertools
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

import fxscope
from fxscope.errors import ShapeError, WrongArgument
from fxscope.plot.depth import MANY, blocks, condensed
from fxscope.plot.style import SLIDE, SMALL
from fxscope.testing import contact_sheet

NUMBERS = json.loads((Path(__file__).parent / "figures.json").read_text(encoding="utf-8"))
LONG = {
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
    figure = made(name)
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    box, whole = figure.get_tightbbox(renderer), figure.get_size_inches()
    assert box.x0 > -0.02 and box.y0 > -0.02 and box.x1 < whole[0] + 0.02 and box.y1 < whole[1] + 0.02, box
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    assert min(t.get_fontsize() for t in texts) >= SMALL
    loose = [a.title for a in figure.axes] + [a.xaxis.label for a in figure.axes]
    loose += [t for t in (figure._suptitle, *(o._supxlabel for o in (figure, *figure.subfigs))) if t]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in loose if t.get_text().strip()]
    boxes += [("legend", legend.get_window_extent(renderer)) for legend in figure.legends]
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
    about = ("fxscope:", "random weights", "random numbers", "photographs of scikit-image", "the painter")
    assert any(words in caption for words in about)


def test_files_hold_text_as_text_and_say_what_they_show(tmp_path):
    figure = made("row")
    for suffix in ("svg", "pdf", "png"):
        figure.savefig(tmp_path / f"row.{suffix}")
    svg = (tmp_path / "row.svg").read_text()
    assert ">receptive filter of y0[0, 90, 70]</text>" in svg and "The receptive filter of y0" in svg
    pdf = (tmp_path / "row.pdf").read_bytes()
    assert b"/Type3" not in pdf and b"/FontFile2" in pdf
    assert b"The receptive filter of y0" in (tmp_path / "row.png").read_bytes()


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
    assert figure.get_suptitle() == "receptive filter of y0[0, 90, 70]"
    zoom = figure.axes[3].images[0].get_array()
    assert torch.equal(torch.from_numpy(zoom.data), lin.F.row((0, 90, 70))[0])
    assert f"verified to {lin.error:.0e}" in figure.get_supxlabel()
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
