"""The options that several verbs share, each defined once, and ``verb``, which makes a command of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import click

from ..analysis.discussion import READINGS
from ..analysis.zero import ZEROS
from ..images.preprocess import CROPS
from ..models.spec import Loaded, has_random_weights, load, weights_note
from ..passes.policy import PRESETS
from ..passes.unknown import UNKNOWN
from . import types
from .running import Verb, usage

Decorator = Callable[[Any], Any]


@dataclass(frozen=True)
class Choice:
    """A network that the command line names, and its weights."""

    model: str
    weights: str | None
    seed: int
    device: str = "cpu"

    @property
    def note(self) -> str:
        """What weights it has, with the seed where they are drawn."""
        return weights_note(self.model, self.weights, self.seed)

    @property
    def title(self) -> str:
        """How it is called wherever it is named."""
        return f"{self.model} ({self.note})"

    @property
    def random(self) -> bool:
        """Whether its weights are drawn at random."""
        return has_random_weights(self.model, self.weights)

    @functools.cached_property
    def loaded(self) -> Loaded:
        """The network itself, and what it comes with."""
        found = load(self.model, self.weights, self.seed)
        return replace(found, module=found.module.to(self.device))


@dataclass(frozen=True)
class Asked:
    """What a verb was asked; what it has no option for keeps its default.

    about   "scores" or "images" if the verb is about networks of such an output alone
    """

    model: str | tuple[str, ...] = ()
    weights: str | tuple[str, ...] | None = None
    seed: int = 0
    device: str = "cpu"
    others: tuple[str, ...] = ()
    image: str | tuple[str, ...] | None = None
    outputs: str | None = None
    policy: Any = "freeze"
    unknown: str = "refuse"
    size: tuple[int, int] | None = None
    resize: Any = None
    crop: str | None = None
    scale: Any = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    bgr: bool = False
    luminance: bool = False
    multiple: int | None = None
    names: tuple[str, ...] | None = None
    output: str | None = None
    as_json: bool = False
    tile: int | str | None = None
    about: str | None = None

    @functools.cached_property
    def choices(self) -> list[Choice]:
        """Every network that is named, with its weights."""
        models = [*_listed(self.model), *self.others]
        weights = _listed(self.weights)
        if weights and len(weights) != len(models):
            raise usage(
                f"{len(models)} networks and {len(weights)} --weights: give one for each, in their order"
            )
        return [Choice(m, w, self.seed, self.device) for m, w in zip(models, weights or [None] * len(models))]

    @property
    def policies(self) -> list[str]:
        """Every policy that is named: several where they are compared."""
        return _listed(self.policy)

    @property
    def choice(self) -> Choice:
        """The first network."""
        return self.choices[0]


def _listed(value: Any) -> list[Any]:
    """The values of an option that is given once or several times."""
    if value is None:
        return []
    return list(value) if isinstance(value, tuple) else [value]


def verb(name: str, *options: Decorator, about: str | None = None) -> Decorator:
    """A command whose function takes ``Asked``, and its own options by name."""
    kept = {field.name for field in fields(Asked)}

    def make(function: Any) -> click.Command:
        @functools.wraps(function)
        def run(**given: Any) -> Any:
            shared = {key: given.pop(key) for key in list(given) if key in kept}
            return function(Asked(about=about, **shared), **given)

        for option in reversed(options):
            run = option(run)
        return click.command(name, cls=Verb)(run)

    return make


def together(*options: Decorator) -> Decorator:
    """One decorator of several options; they come in this order in the help."""

    def add(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return add


model = click.argument("model", type=types.Model())
many_models = click.argument("model", nargs=-1, required=True, type=types.Model())
other_models = click.option(
    "--and", "others", multiple=True, type=types.Model(), help="another network, side by side"
)
one_image = click.argument("image", type=types.IMAGE)
optional_image = click.argument("image", required=False, type=types.IMAGE)
many_images = click.argument("image", nargs=-1, required=True, type=types.IMAGES)

weights = click.option(
    "--weights",
    type=types.Weights(),
    help="a checkpoint (safetensors, or a weights_only .pt), or DEFAULT for torchvision's own",
)
many_weights = click.option(
    "--weights",
    multiple=True,
    type=types.Weights(),
    help="a checkpoint a network, in their order, or DEFAULT for torchvision's own",
)
seed = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**32 - 1),
    help="of all that is random: the weights of a network that has none, the start of a method",
)
device = click.option(
    "--device",
    default="cpu",
    show_default=True,
    type=types.Device(),
    help="where the network runs: cpu, cuda, cuda:1, ...",
)
outputs = click.option(
    "--outputs",
    type=types.Place(),
    help="the key of one output of several (of a dict or a tuple), or a place within the network",
)
key = click.option(
    "--outputs", type=types.Place(), help="the key of one output of several (of a dict or a tuple)"
)
policy = click.option(
    "--policy",
    default="freeze",
    show_default=True,
    type=click.Choice([*PRESETS, "paper"]),
    help="what is frozen",
)
many_policies = click.option(
    "--policy",
    multiple=True,
    default=("freeze",),
    show_default=True,
    type=click.Choice([*PRESETS, "paper"]),
    help="what is frozen; several stand side by side",
)
unknown = click.option(
    "--unknown",
    default="refuse",
    show_default=True,
    type=click.Choice(UNKNOWN),
    help="operators without a rule: refuse them, or take their derivative",
)
as_json = click.option("--json", "as_json", is_flag=True, help="print JSON")
output = click.option(
    "-o",
    "--output",
    type=types.NewFile(*types.PICTURES, needs=("matplotlib", "plot")),
    help="draw into FILE.png, .svg or .pdf",
)
saved = click.option(
    "--save",
    "saved",
    type=types.NewFile(".safetensors", needs=("safetensors", "images")),
    help="write the result into FILE.safetensors",
)
size = click.option(
    "--size", type=types.Sides(), help="height and width that the network takes, of what is cut out"
)
resize = click.option(
    "--resize",
    type=types.Resize(),
    help="before the crop: the shorter side to N, to HxW, to cover --size, to --size exactly, or none",
)
crop = click.option(
    "--crop",
    type=click.Choice([*CROPS, "none"]),
    help="where --size is cut out; none takes all of the photograph",
)
scale = click.option(
    "--range", "scale", type=types.Range(), help="what the network takes for black and white"
)
mean = click.option("--mean", type=types.Numbers(), help="subtracted, in units of the range")
std = click.option("--std", type=types.Numbers(not_zero=True), help="divided by, in units of the range")
bgr = click.option("--bgr", is_flag=True, help="the network takes blue, green, red")
luminance = click.option("--luminance", is_flag=True, help="the network takes the luminance alone")
multiple = click.option(
    "--multiple",
    type=click.IntRange(min=1),
    help="pad at the bottom and the right to a multiple of this, by reflection",
)
at = click.option(
    "--at",
    type=types.Index(),
    help=(
        "index of the un-batched tensor, as C,Y,X or a class (default: the middle of an image, the"
        " largest score)"
    ),
)
top = click.option("--top", is_flag=True, help="the largest output")
zero = click.option(
    "--zero",
    default="own",
    show_default=True,
    type=click.Choice(["own", *ZEROS]),
    help="where zero lies, from which shares are counted: x = 0, each image's mean colour, or pixels",
)
reading = click.option("--reading", default="weighted", show_default=True, type=click.Choice(READINGS))


def folder(default: str) -> Decorator:
    """``--out``, the folder of a page."""
    return click.option(
        "--out", default=default, show_default=True, type=types.Folder(), help="folder of the page"
    )


tile = click.option(
    "--tile",
    default="auto",
    show_default=True,
    type=types.Tile(),
    help="read a large image in tiles of so many pixels to a side; none: whole",
)
names = click.option("--names", type=types.Names(), help="a file with the name of a label in each line")
# how a photograph becomes x0; what is not given is what is known of the network
picture = together(size, resize, crop, scale, mean, std, bgr, luminance, multiple)
network = together(model, weights, seed)
common = together(policy, picture, as_json)
at_a_photograph = together(
    model, optional_image, weights, seed, device, outputs, output, unknown, tile, common
)
compared = together(weights, seed, device, key, many_policies, picture, as_json, output)
analysis = together(weights, seed, device, key, common, output)
