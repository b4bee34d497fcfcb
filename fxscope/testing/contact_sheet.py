"""Every kind of figure on one page, to be looked at: ``python -m fxscope.testing.contact_sheet``.

The networks are trained ones that come with fxscope or its extra "pretrained", or have random weights, which
their captions say; the photographs are scikit-image's.
"""

from __future__ import annotations

import argparse
import base64
import functools
import html
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.patches import Rectangle
from torch import nn

from .. import analysis, models, plot
from ..images import photos
from ..images.preprocess import Preprocess
from ..linop import LinearInterpreter, interpret
from ..plot import analysis as draw
from ..plot.style import COLUMN
from ..results.files import write_text
from ..results.provenance import caption
from .latex import paper

CLASSIFIER = "fxscope:efficientnet_lite0"
SEED = 0
LAYOUTS = 4  # each makes places a little better; after so many they stay
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>fxscope: contact sheet</title>
<style>
body {{ font: 15px/1.5 sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem }}
figure {{ margin: 0 0 3rem }} img {{ max-width: 100%; border: 1px solid #ccc }} h2 {{ font-size: 1.1rem }}
.pair {{ display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start }} p {{ max-width: 60rem }}
</style><h1>All figures of fxscope {version}</h1>
<p>Below each figure stands its alternative text. The dark one has no caption: say what it shows before you
read on.</p>{figures}</html>
"""
FIGURE = """<figure id="{name}"><h2>{name}</h2><div class="pair"><img alt="{alt}" width="{width}"
src="data:image/png;base64,{light}"><img alt="The same figure on a dark ground, without its caption"
width="{width}" src="data:image/png;base64,{dark}"></div><figcaption>{alt}</figcaption></figure>
"""


class Kit:
    """The networks and photographs of the figures, each made once."""

    @functools.cached_property
    def names(self) -> list[str]:
        """The names of ImageNet's classes."""
        import torchvision

        return list(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])

    @functools.cached_property
    def cat(self) -> torch.Tensor:
        """A photograph (3, 128, 128) in [0, 1]."""
        return _resized(photos.shipped("chelsea")[:, :, 60:360], 128)

    @functools.cached_property
    def coffee(self) -> torch.Tensor:
        """Another photograph (3, 128, 128) in [0, 1]."""
        return _resized(photos.shipped("coffee")[:, :, 100:500], 128)

    @functools.cached_property
    def classifier(self) -> LinearInterpreter:
        """A trained classifier at the cat."""
        module = models.load_model(CLASSIFIER).double().eval()
        return interpret(module, self.input(self.cat))

    def input(self, picture: torch.Tensor) -> torch.Tensor:
        """x0 of a photograph for the classifier, at the photograph's size."""
        mean, std = (torch.as_tensor(v).flatten()[:, None, None] for v in self.preprocess.affine)
        return (picture[None].double() - mean) / std

    @functools.cached_property
    def preprocess(self) -> Preprocess:
        """How a photograph becomes the classifier's input."""
        return Preprocess.of(CLASSIFIER, models.load_model(CLASSIFIER))

    @functools.cached_property
    def upscaler(self) -> LinearInterpreter:
        """A trained network of super-resolution at the cat's eye."""
        module = models.load_model("fxscope:pixelshuffle4x").double().eval()
        eye = _resized(self.cat[:, 20:84, 0:64], 48).mean(0, keepdim=True)
        return interpret(module, eye[None].double())

    @functools.cached_property
    def triplets(self) -> Any:
        """Four singular triplets of the network of super-resolution."""
        return self.upscaler.F.svd(4, progress=False, seed=SEED)

    @functools.cached_property
    def painter(self) -> LinearInterpreter:
        """A trained network from photographs to paintings, at the cup."""
        module = models.load_model("fxscope:painter_resnet").double().eval()
        return interpret(module, _resized(self.coffee, 64)[None].double())

    @functools.cached_property
    def random(self) -> nn.Sequential:
        """A small classifier of random weights."""
        torch.manual_seed(SEED)
        stages = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        stages += [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
        return nn.Sequential(*stages, nn.Linear(128, 10)).double().eval()

    @functools.cached_property
    def transformer(self) -> LinearInterpreter:
        """A small transformer of random weights, at twelve random tokens."""
        torch.manual_seed(SEED)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
        encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double().eval()
        return interpret(encoder, torch.randn(1, 12, 16, dtype=torch.float64))

    @functools.cached_property
    def batch(self) -> torch.Tensor:
        """Eight small pieces of the photographs."""
        whole = torch.stack([self.cat, self.coffee]).double()
        return torch.cat([whole[:, :, y : y + 32, x : x + 32] for y in (8, 72) for x in (8, 72)])

    def about(self, name: str, policy: bool = True) -> str:
        """The caption of a figure about one of the interpreters, or about the small classifier.

        Without ``policy`` for figures that compare several.
        """
        if name == "random":
            said = f"a small classifier, random weights, seed {SEED}, policy freeze, float64"
            return f"{said}; pieces of chelsea and coffee (scikit-image)"
        if name == "transformer":
            origin = {
                **self.transformer.F.origin(),
                "model": f"a small transformer, random weights, seed {SEED}",
            }
            return f"{caption(origin)}; twelve random tokens"
        lin, model, image = {
            "classifier": (lambda: self.classifier, CLASSIFIER, "chelsea"),
            "upscaler": (lambda: self.upscaler, "fxscope:pixelshuffle4x", "chelsea"),
            "painter": (lambda: self.painter, "fxscope:painter_resnet", "coffee"),
        }[name]
        origin = {k: v for k, v in lin().F.origin().items() if policy or k != "policy"}
        return f"{caption({**origin, 'model': model})}; {image} (scikit-image)"


def _resized(picture: torch.Tensor, side: int) -> torch.Tensor:
    return nn.functional.interpolate(picture[None], (side, side), mode="area")[0]


FIGURES: dict[str, Callable[[Kit], Any]] = {}


def figure(function: Callable[[Kit], Any]) -> Callable[[Kit], Any]:
    """Add a figure to the sheet."""
    FIGURES[function.__name__.strip("_")] = function
    return function


@figure
def _heatmap_of_a_score(kit: Kit) -> Any:
    lin = kit.classifier
    top = int(lin.y0.argmax())
    return plot.heatmap(lin, top, names=kit.names, text=kit.about("classifier"), photograph=kit.cat)


@figure
def _heatmap_in_channels(kit: Kit) -> Any:
    lin = kit.painter
    text = kit.about("painter")
    return plot.heatmap(lin, (1, 30, 34), text=text, channels="panels", scale="root")


@figure
def _row(kit: Kit) -> Any:
    return plot.heatmap(kit.upscaler, (0, 90, 70), text=kit.about("upscaler"))


@figure
def _row_alone(kit: Kit) -> Any:
    lin = kit.upscaler
    y, x = lin.F.alignment().input_of((90, 70))
    return plot.row(lin.F.row((0, 90, 70)), (y, x), of="y0[0, 90, 70]", text=kit.about("upscaler"))


@figure
def _column(kit: Kit) -> Any:
    return plot.heatmap(kit.upscaler, (0, 22, 18), column=True, text=kit.about("upscaler"))


@figure
def _images(kit: Kit) -> Any:
    lin = kit.upscaler
    return plot.images({"input": lin.x0[0], "output": lin.y0[0]}, text=kit.about("upscaler"))


@figure
def _images_of_a_list(kit: Kit) -> Any:
    return plot.images([kit.cat, kit.coffee], text="photographs of scikit-image: chelsea, coffee")


@figure
def _signed_images(kit: Kit) -> Any:
    lin = kit.upscaler
    parts = {"F x0": (lin.y0 - lin.residual)[0], "r": lin.residual[0]}
    return plot.images(parts, signed=True, text=kit.about("upscaler"))


@figure
def _eigen_images(kit: Kit) -> Any:
    lin, found = kit.upscaler, kit.triplets
    return plot.eigen(found, 4, photograph=lin.x0[0], output=lin.y0[0], text=kit.about("upscaler"))


@figure
def _eigen_scores(kit: Kit) -> Any:
    found = kit.classifier.F.svd(3, progress=False, seed=SEED)
    text = kit.about("classifier")
    return plot.eigen(found, photograph=kit.cat, names=kit.names, text=text)


@figure
def _spectrum(kit: Kit) -> Any:
    found = kit.upscaler.F.spectrum(probes=2, steps=8, seed=SEED, progress=False)
    return plot.spectrum(found, text=kit.about("upscaler"))


@figure
def _shapes(kit: Kit) -> Any:
    found = kit.triplets
    return plot.shapes({"inputs": found.shapes(), "outputs": found.shapes("u")}, text=kit.about("upscaler"))


@figure
def _contributions(kit: Kit) -> Any:
    lin = kit.classifier
    top = int(lin.y0.argmax())
    of, text = f"{kit.names[top]} (y0[{top}])", kit.about("classifier")
    return plot.contributions(lin.contributions(top), text=text, photograph=kit.cat, of=of)


@figure
def _layers(kit: Kit) -> Any:
    found = analysis.layer_contributions(kit.random, kit.batch, progress=False)
    return found.plot(text=kit.about("random"))


@figure
def _layers_of_a_deep_network(kit: Kit) -> Any:
    x0 = torch.cat([kit.classifier.x0, kit.input(kit.coffee)])
    found = analysis.layer_contributions(kit.classifier.model, x0, progress=False)
    return found.plot(text=f"{CLASSIFIER}, policy freeze, float64; chelsea and coffee (scikit-image)")


@figure
def _discussion(kit: Kit) -> Any:
    lin = kit.classifier
    found = lin.pixel_discussion(lin.y0[0].topk(2).indices.tolist(), reading="conserving", progress=False)
    return found.plot(text=kit.about("classifier"), names=kit.names, photograph=kit.cat)


@figure
def _votes(kit: Kit) -> Any:
    lin = kit.classifier
    found = lin.pixel_votes(lin.y0[0].topk(10).indices.tolist(), progress=False)
    return found.plot(text=kit.about("classifier"), names=kit.names, photograph=kit.cat)


@figure
def _residual_share(kit: Kit) -> Any:
    given = [(f"piece {i}", x[None]) for i, x in enumerate(kit.batch)]
    networks: dict[str, nn.Module] = {
        "small": kit.random,
        "small, its first layers": kit.random[:5].append(nn.Flatten()),
    }
    found = analysis.residual_share(networks, given, progress=False)
    return found.plot(text=kit.about("random"))


@figure
def _fgsm(kit: Kit) -> Any:
    return analysis.fgsm(kit.random, kit.batch).plot(text=kit.about("random"))


@figure
def _faithfulness(kit: Kit) -> Any:
    found = analysis.faithfulness(
        kit.random, kit.batch[:3, :, :16, :16], depths=2, noise=[0.05, 0.1], fractions=4, progress=False
    )
    return found.plot(text=kit.about("random"))


@figure
def _focus(kit: Kit) -> Any:
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[8:24, 8:24] = True
    given = [(f"piece {i}", x[None], inside) for i, x in enumerate(kit.batch)]
    return analysis.votes_study(kit.random, given, progress=False).plot(text=kit.about("random"))


@figure
def _marked(kit: Kit) -> Any:
    places = [(30, 34), (8, 50), (48, 12)]
    text = "places at which fxscope:painter_resnet is read; coffee (scikit-image)"
    return draw.marked({"coffee": kit.painter.x0[0]}, places, text=text)


@figure
def _grid(kit: Kit) -> Any:
    at = {"the cup": (30, 34), "the saucer": (48, 12), "the table": (12, 50)}
    panels = {name: _around(kit.painter.x0[0], place) for name, place in at.items()}
    panels |= {f"row at {name}": _around(kit.painter.F.row((1, *p)), p) for name, p in at.items()}
    title = "receptive filters of channel 1 of the output at three places"
    return draw.grid(panels, 3, images=list(at), text=kit.about("painter"), title=title)


def _around(image: torch.Tensor, place: tuple[int, int], radius: int = 10) -> torch.Tensor:
    y, x = place
    return image[:, y - radius : y + radius + 1, x - radius : x + radius + 1]


def _rows(kit: Kit) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    places = [(16, 16), (30, 34), (48, 12), (8, 50)]
    return kit.painter.F.rows([(1, *place) for place in places]), places


@figure
def _energy(kit: Kit) -> Any:
    rows, places = _rows(kit)
    found = analysis.energy_against_distance(rows, places)
    return found.plot(text=kit.about("painter"), photograph=kit.painter.x0[0], places=places)


@figure
def _off_diagonal(kit: Kit) -> Any:
    found = analysis.diagonal(*_rows(kit))
    return draw.off_diagonals({"painter_resnet": found}, text=kit.about("painter"))


@figure
def _source(kit: Kit) -> Any:
    rows, places = _rows(kit)
    found = analysis.copy_move(rows[1], places[1])
    return found.plot(text=kit.about("painter"), photograph=kit.painter.x0[0])


@figure
def _invariance(kit: Kit) -> Any:
    return analysis.invariance(*_rows(kit), 6).plot(text=kit.about("painter"))


@figure
def _reach(kit: Kit) -> Any:
    x0 = kit.painter.x0
    found = analysis.reach(kit.painter.model, x0, (1, 30, 34), bound=20)
    return found.plot(text=kit.about("painter", policy=False))


@figure
def _comparison(kit: Kit) -> Any:
    policies = ["freeze", "taylor"]
    found = analysis.compare(kit.painter.x0, policies, at=(1, 30, 34), model=kit.painter.model)
    return found.plot(text=kit.about("painter", policy=False))


@figure
def _tokens(kit: Kit) -> Any:
    lin = kit.transformer
    linear = lin.F @ lin.x0[0]
    return draw.tokens(linear.norm(dim=1), lin.residual[0].norm(dim=1), text=kit.about("transformer"))


@figure
def _tokens_as_text(kit: Kit) -> Any:
    model, text = models.kjv_llama().double(), "And Lemuth begat Arvad; and Arvad begat Chalor; and Cha"
    lin = interpret(model, model.encode(text), policy="detach")
    first, second = lin.y0[0, -1].topk(2).indices.tolist()
    found = {
        f"{which}, {model.CHARACTERS[i]!r}": lin.contributions((-1, i)).by_token()[0]
        for which, i in (("first", first), ("second", second))
    }
    about = caption({**lin.F.origin(), "model": "fxscope:kjv_llama"})
    return plot.tokens(list(text), found, text=f"what adds to two logits: {about}", places=[len(text) - 1])


@figure
def _by_layer(kit: Kit) -> Any:
    found = kit.transformer.contributions((0, 3))
    values = {"F x0": float(found.linear), **found.by_layer()}
    return draw.by_layer(values, float(found.output), text=kit.about("transformer"), of="y0[0, 3]")


def described(made: Any) -> dict[str, Any]:
    """A figure as numbers: its size, and of every panel its title, place, limits, colours and marks.

    Of two figures that look alike they are alike, whatever draws their pixels.
    """
    for _ in range(LAYOUTS):
        made.get_layout_engine().execute(made)
    panels = []
    for axis in made.axes:
        found: dict[str, Any] = {
            "title": axis.get_title(),
            "labels": [axis.get_xlabel(), axis.get_ylabel()],
            "position": [round(v, 3) for v in axis.get_position().bounds],
            "limits": [_short(v) for v in (*axis.get_xlim(), *axis.get_ylim())],
        }
        colours = [[_short(v) for v in i.get_clim()] for i in axis.images]
        places = [line.get_data() for line in axis.lines if line.get_gid() == "place"]
        found["images"] = [list(i.get_array().shape) for i in axis.images]
        found["colours"] = colours
        found["places"] = [[_short(np.nanmean(v)) for v in data] for data in places]
        found["boxes"] = [_box(p) for p in axis.patches if isinstance(p, Rectangle) and not p.get_fill()]
        panels.append({k: v for k, v in found.items() if v and v != ["", ""]})
    size = [round(v, 2) for v in made.get_size_inches()]
    return {"size": size, "title": heading(made), "panels": panels}


def heading(made: Any) -> str:
    """What a figure says at its top: above all panels, in its legend, or above its one panel."""
    above = [made.get_suptitle(), *(legend.get_title().get_text() for legend in made.legends)]
    alone = [axis.get_title() for axis in made.axes if axis.get_label() != "<colorbar>"]
    return " ".join(filter(None, above)) or (alone[0] if len(alone) == 1 else "")


def _box(patch: Any) -> list[float]:
    return [_short(v) for v in (patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height())]


def _short(value: float) -> float:
    """Three digits of a number."""
    return float(f"{float(value):.3g}")


def png(made: Any) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    made.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def sheet(path: str | Path, names: list[str] | None = None, folder: str | None = None) -> Path:
    """Write the page, and into ``folder`` every figure as PNG, PDF and SVG; returns the page's path."""
    from .._version import __version__

    kit, parts = Kit(), []
    for name in names or FIGURES:
        made = FIGURES[name](kit)
        with plot.look("dark", captions=False):
            dark = FIGURES[name](kit)
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            for suffix in ("png", "pdf", "svg"):
                made.savefig(Path(folder) / f"{name}.{suffix}")
            dark.savefig(Path(folder) / f"{name}.dark.png")
        both = {k: base64.b64encode(png(f)).decode() for k, f in (("light", made), ("dark", dark))}
        width = round(96 * made.get_figwidth())
        parts.append(
            FIGURE.format(name=name.replace("_", " "), alt=html.escape(made.alt), width=width, **both)
        )
        print(name)
    write_text(path, PAGE.format(version=__version__, figures="".join(parts)))
    return Path(path)


def printed(names: list[str], folder: str | Path) -> Path:
    """Write a paper with every figure in one column and, if it then is wider, as it is by itself."""
    kit = Kit()

    def both(name: str) -> dict[str, Any]:
        with plot.look(size="column", captions=False):
            found = {"column": FIGURES[name](kit)}
        with plot.look(captions=False):
            usual = FIGURES[name](kit)
        return found if usual.get_figwidth() <= COLUMN else found | {"page": usual}

    return paper(folder, ((name, both(name)) for name in names))


def main(arguments: list[str] | None = None) -> None:
    """Write the sheet, or the numbers of the figures."""
    parser = argparse.ArgumentParser(prog="python -m fxscope.testing.contact_sheet", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"figures (default: all): {', '.join(FIGURES)}")
    parser.add_argument("-o", "--output", default="contact-sheet.html", help="the page")
    parser.add_argument("--folder", help="a folder for every figure as PNG, PDF and SVG")
    parser.add_argument(
        "--numbers", help="write no page, but this JSON file: titles, limits, places, colours"
    )
    parser.add_argument(
        "--latex",
        metavar="DIR",
        help="write no page, but DIR/paper.tex and its figures in one and two columns",
    )
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.names if name not in FIGURES]
    if unknown:
        parser.error(f"there is no figure {', '.join(unknown)}; the figures are {', '.join(FIGURES)}")
    if asked.numbers:
        kit = Kit()
        found = {name: described(FIGURES[name](kit)) for name in asked.names or FIGURES}
        lines = (f"{json.dumps(name)}: {json.dumps(each)}" for name, each in found.items())
        write_text(asked.numbers, "{\n" + ",\n".join(lines) + "\n}\n")
        print(f"written: {asked.numbers}")
    elif asked.latex:
        print(f"written: {printed(asked.names or list(FIGURES), asked.latex)}")
    else:
        print(f"written: {sheet(asked.output, asked.names, asked.folder)}")


if __name__ == "__main__":
    main()
