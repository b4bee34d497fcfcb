"""The verb that makes a film: ``video``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..images.preprocess import Preprocess
from ..linop import LinearInterpreter, interpret
from ..plot import Video, video
from ..plot.film.colours import SCALES
from ..plot.film.walks import WALKS
from ..plot.film.writers import SUFFIXES
from . import options, types
from .inputs import checked, example, networks_of, place_in
from .options import Asked, verb
from .running import note, usage
from .shown import answer

AV = ("av", "video")


@verb(
    "video",
    options.many_models,
    options.one_image,
    options.many_weights,
    options.seed,
    options.device,
    options.key,
    options.common,
    about="images",
)
@click.option(
    "-o", "film", required=True, type=types.NewFile(*SUFFIXES, needs=AV), help="FILE.mp4, .gif or .webp"
)
@click.option("--gif", type=types.NewFile(".gif", needs=AV), help="write FILE.gif, too")
@click.option("--webp", type=types.NewFile(".webp", needs=AV), help="write FILE.webp, too")
@click.option("--poster", type=types.NewFile(".png", needs=AV), help="the frame in the middle, FILE.png")
@click.option(
    "--path",
    "walk",
    default="spiral",
    show_default=True,
    type=click.Choice(WALKS),
    help="the way of the probe: outwards, line by line, or to each --point",
)
@click.option(
    "--point", "points", multiple=True, type=types.Index(), help="Y,X of x0; the path points goes there"
)
@click.option("--rows", is_flag=True, help="rows alone")
@click.option("--columns", is_flag=True, help="columns alone")
@click.option("--both", is_flag=True, help="rows and columns, which is the default")
@click.option("--seconds", default=12.0, show_default=True, type=types.Above(), help="length")
@click.option("--fps", default=10.0, show_default=True, type=types.Above(), help="frames for one second")
@click.option(
    "--scale",
    "colours",
    default="root",
    show_default=True,
    type=click.Choice(list(SCALES)),
    help="how magnitudes become colours; the panels state where the symmetric scale ends",
)
@click.option(
    "--channel", type=click.IntRange(min=0), help="of output and input (default: the sum over all of them)"
)
@click.option(
    "--zoom", type=click.IntRange(min=1), help="show so many input pixels to each side, not all of a filter"
)
@click.option(
    "--width", default=960, show_default=True, type=click.IntRange(min=160), help="of a frame, in pixels"
)
def video_verb(
    asked: Asked,
    film: str,
    points: tuple[tuple[int, ...], ...],
    rows: bool,
    columns: bool,
    both: bool,
    colours: str,
    **given: Any,
) -> None:
    """Make a film of the rows and columns of every MODEL: a probe walks over IMAGE (section 8.D).

    The film has subtitles with the measured numbers, and a chapter for each leg of the walk. Ctrl-C keeps
    what is done.
    """
    if rows + columns + both > 1:
        raise usage("--rows, --columns and --both exclude each other")
    if (given["walk"] == "points") != bool(points):
        raise usage("--path points goes to each --point Y,X, and the other paths take none", "--point")
    lins, known = _interpreters(asked, points)
    try:
        made = video(
            film,
            lins,
            points=[(y, x) for y, x in points] or None,
            rows=not columns,
            columns=not rows,
            scale=colours,
            preprocess=known,
            text=Path(str(asked.image)).name,
            **given,
        )
    except KeyboardInterrupt as stopped:
        if str(stopped):
            note(f"fxscope: {stopped}")
        raise
    answer(asked, made.numbers(), _told(made))


def _interpreters(
    asked: Asked, points: tuple[tuple[int, ...], ...]
) -> tuple[dict[str, LinearInterpreter], dict[str, Preprocess]]:
    """{title: interpreter} of every network at the photograph, and how it became their inputs."""
    lins, known = {}, {}
    for choice, each in zip(asked.choices, networks_of(asked)):
        if choice.title in lins:
            raise usage(f"{choice.title} is named twice")
        x0 = example(asked, each)
        for point in points:
            place_in(point, tuple(x0.shape[2:]), "the image", "--point")
        checked(asked, each, x0)
        lins[choice.title] = interpret(each.module, x0, policy=asked.policy)
        known[choice.title] = each.preprocess
    return lins, known


def _told(made: Video) -> str:
    """What the answer says of a film without --json."""
    lines = []
    for each in made.measured:
        law = [] if each["error"] is None else [f"y0 = <row, x0> + r to {each['error']:.1e}"]
        ends = [f"{kind} +-{end:.3g}" for kind, end in each["scale_ends"].items()]
        lines.append(f"{each['title']}: {', '.join(law + ends)}")
    length = f"{made.frames} frames, {made.frames / made.fps:g} s, {made.size[0]} x {made.size[1]} pixels"
    return "\n".join([*lines, f"{length}: {', '.join(made.files)}"])


VERBS = (video_verb,)
