"""``video``: a film of the rows and columns of networks at a photograph."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from ...errors import ShapeError, WrongArgument
from ...graph.arguments import checked, shown
from ...images.conventions import with_count
from ...images.preprocess import Preprocess
from ...linop import LinearInterpreter
from ...results.display import Displayed
from ...results.files import check_writable, replacing
from ...results.pictures import of_file
from ...results.progress import steps
from ...results.tables import Table, said
from .colours import SCALES
from .readings import KINDS, Reading, Subject, measure_scale
from .walks import Leg, Place, Walk, walk
from .writers import SUFFIXES, WRITERS, Writer, check_suffix, pyav

LEAST = 160  # pixels of the width of a frame
READ = 3.0  # seconds that a subtitle is shown, at most


@dataclass(frozen=True, repr=False)
class Video(Displayed):
    """What ``fxscope.plot.video`` has made.

    Attributes
    ----------
    files : tuple of str
        The files.
    frames : int
        How many frames they have.
    fps : float
        Frames for one second.
    size : tuple of int
        Width and height of a frame.
    walk : Walk
        The place (y, x) of every frame, and the legs, which are the chapters.
    scale : str
        How magnitudes become colours.
    measured : tuple of dict
        Of every network: its title, the ends of its symmetric scales, in how many frames a coefficient is
        beyond, and the largest error of <row, x0> + r = y0, or None where no rows are shown.
    cues : tuple of dict
        The subtitles: first frame, end, text, and for each network the measured numbers.
    """

    files: tuple[str, ...]
    frames: int
    fps: float
    size: tuple[int, int]
    walk: Walk
    scale: str
    measured: tuple[dict[str, Any], ...]
    cues: tuple[dict[str, Any], ...]

    def numbers(self) -> dict[str, Any]:
        """Everything by name."""
        return {**vars(self), "seconds": self.frames / self.fps}

    def _said(self) -> Iterable[str]:
        width, height = self.size
        seconds = self.frames / self.fps
        return [*self.files, f"{self.frames} frames of {width} x {height}", f"{seconds:.3g} s"]

    def _picture(self) -> str:
        stills = (Path(name) for name in self.files if name.endswith((".png", ".gif", ".webp")))
        return next((of_file(path, f"frames of {path.name}") for path in stills), "")

    def _table(self) -> Table:
        rows = [("file", name) for name in self.files]
        rows += [("frames", f"{self.frames}, {self.fps:g} a second"), ("scale of magnitudes", self.scale)]
        rows += [
            (f"{each['title']}: {name}", said(value))
            for each in self.measured
            for name, value in each.items()
            if name != "title"
        ]
        return Table(("", ""), rows)


@checked
def video(
    path: str | Path,
    lins: LinearInterpreter | Mapping[str, LinearInterpreter],
    walk: str = "spiral",
    points: Sequence[tuple[int, int]] | None = None,
    rows: bool = True,
    columns: bool = True,
    seconds: float = 12.0,
    fps: float = 10.0,
    scale: str = "root",
    channel: int | None = None,
    radius: int = 3,
    zoom: int | None = None,
    width: int = 960,
    preprocess: Mapping[str, Preprocess] | None = None,
    text: str = "",
    gif: str | Path | None = None,
    webp: str | Path | None = None,
    poster: str | Path | None = None,
    progress: bool = True,
) -> Video:
    """Make a film: a probe walks over the photograph, and its rows and columns are seen (paper, section 8.D).

    Every frame shows the photograph with the place and the support of its row, the row of the output that is
    nearest to the place, the column of the place, and the output; with several networks, these side by side.
    An MP4 file is H.264 in fragments. It has a track of subtitles with the measured numbers, and a chapter
    for each leg of the walk. After Ctrl-C the frames that are done are kept: under the name of the file, or,
    where there is a file of that name, beside it as NAME-part.

    Parameters
    ----------
    path : str or Path
        FILE.mp4, FILE.gif or FILE.webp. A file of that name is replaced when the new one is complete.
    lins : LinearInterpreter, or dict
        What ``fxscope.interpret`` returns for one image, or {title: interpreter} of several networks or
        policies at one photograph. Each is from an image to an image, and all take the same size.
    walk : {"spiral", "scan", "points"}
        From the middle outwards; line by line; or from point to point, with a rest at each.
    points : list of (int, int)
        The places (y, x) of the walk "points".
    rows, columns : bool
        What is shown.
    seconds, fps : float
        Length, and frames for one second.
    scale : {"linear", "root", "log"}
        How magnitudes become colours. The scale is symmetric. It ends at the largest magnitude at nine places
        of the walk, which the panels state; larger values are cut.
    channel : int, optional
        The channel of the output whose row is shown, and of the input whose column is. The default is the
        sum over all channels.
    radius : int
        Pixels of the input within which the share of the energy is measured.
    zoom : int, optional
        Show so many input pixels to each side of the place, and not whole rows and columns.
    width : int
        Width of a frame in pixels.
    preprocess : dict, optional
        {title: Preprocess}, by which images are shown as pixels. The default is
        ``fxscope.Preprocess.of(lin.model)``.
    text : str
        A caption, such as the name of the photograph.
    gif, webp : str or Path, optional
        Further files of the same frames.
    poster : str or Path, optional
        FILE.png of the frame in the middle.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Video
        The files, the walk, the scales and the measured numbers.

    Raises
    ------
    FxscopeError
        If a suffix is none of these, a file cannot be written, or PyAV or Pillow is not installed.
    WrongArgument
        If the walk has less than two frames, or an argument is none of its choices.
    NotLocal
        If a network is not from one image to one image.
    ShapeError
        If the networks take images of different sizes.
    """
    files = _files(path, gif, webp)
    poster = None if poster is None else _checked(Path(poster), ".png")
    pyav()
    kinds = tuple(kind for kind, wanted in zip(KINDS, (rows, columns)) if wanted)
    if not kinds or scale not in SCALES or width < LEAST:
        raise WrongArgument(
            f"video: rows or columns are shown, or both, the scale is one of {', '.join(SCALES)}, and the"
            f" width is at least {LEAST}; got rows={rows}, columns={columns}, scale={scale!r}, width={width}"
        )
    subjects = _subjects(lins, preprocess, channel, radius)
    rate = Fraction(fps).limit_denominator(1000)
    way = walk_of(walk, subjects[0].size, round(seconds * rate), points)
    for subject in subjects:
        measure_scale(subject, kinds, way.distinct())
    film = _Film(subjects, kinds, way, rate, scale, zoom, width, text)
    return film.written(files, poster, progress)


walk_of = walk  # an argument of ``video`` has this name


def _files(*paths: Any) -> list[Path]:
    """The files that are to be written, of the suffixes of their arguments."""
    allowed = (SUFFIXES, (".gif",), (".webp",))
    found = [_checked(Path(p), *a) for p, a in zip(paths, allowed) if p is not None]
    if len({os.path.realpath(p) for p in found}) < len(found):
        raise WrongArgument(f"video: {', '.join(map(str, found))} are not different files")
    return found


def _checked(path: Path, *suffixes: str) -> Path:
    check_suffix(path, *suffixes)
    check_writable(path)
    return path


def _subjects(
    lins: Any, preprocess: Mapping[str, Preprocess] | None, channel: int | None, radius: int
) -> list[Subject]:
    named = {type(lins.model).__name__: lins} if isinstance(lins, LinearInterpreter) else lins
    if not isinstance(named, Mapping) or not named:
        raise _wrong_lins(lins)
    found = []
    for title, lin in named.items():
        if not isinstance(title, str) or not isinstance(lin, LinearInterpreter):
            raise _wrong_lins(lins)
        known = (preprocess or {}).get(title) or Preprocess.of(lin.model)
        found.append(Subject(title, lin, functools.partial(_shown, known), channel, radius))
    sizes = {subject.size for subject in found}
    if len(sizes) > 1:
        said = ", ".join(f"{s.title}: {s.size[1]} x {s.size[0]}" for s in found)
        raise ShapeError(f"video: the networks take the photograph at different sizes, {said}: give one size")
    return found


def _shown(known: Preprocess, image: torch.Tensor) -> torch.Tensor:
    """An image of the network as pixels in [0, 1]."""
    return with_count(known, len(image)).inverse(image)


def _wrong_lins(lins: Any) -> WrongArgument:
    return WrongArgument(
        "video: lins is what fxscope.interpret(model, x0) returns, or a dict {title: interpreter}; got"
        f" {shown(lins)}"
    )


def _encodable(text: str) -> str:
    """The text, without the bytes of file names that are no UTF-8."""
    return text.encode(errors="replace").decode()


class _Film:
    """A film that is made: its frames one after the other, and what is said of them."""

    def __init__(
        self,
        subjects: list[Subject],
        kinds: tuple[str, ...],
        way: Walk,
        rate: Fraction,
        scale: str,
        zoom: int | None,
        width: int,
        text: str,
    ) -> None:
        from .canvas import Canvas

        self.subjects, self.kinds, self.way, self.rate, self.scale = subjects, kinds, way, rate, scale
        channel = subjects[0].channel
        policies = sorted({str(s.lin.policy) for s in subjects})
        which = "sum over all channels" if channel is None else f"channel {channel}"
        said = [
            text,
            f"policy {', '.join(policies)}; {which}",
            f"scale: {SCALES[scale][1]}",
            "" if len(subjects) == 1 else "% of the energy, and support",
        ]
        self.captions = [_encodable(line) for line in said if line]
        self.canvas = Canvas(subjects, kinds, width, scale, zoom, self.captions)
        self.cues: list[dict[str, Any]] = []
        self.beyond = [dict.fromkeys(kinds, 0) for _ in subjects]
        self.errors: list[float | None] = [0.0 if "row" in kinds else None for _ in subjects]

    def written(self, files: list[Path], poster: Path | None, progress: bool) -> Video:
        """Write it, each file aside until it is complete."""
        with contextlib.ExitStack() as stack:
            news = [stack.enter_context(replacing(file)) for file in files]
            drawn = None if poster is None else stack.enter_context(replacing(poster))
            ctrl_c = stack.enter_context(_CtrlC())
            writers = [self._writer(file, new) for file, new in zip(files, news)]
            try:
                self._write(writers, drawn, progress, ctrl_c)
                ctrl_c.hold()
            except KeyboardInterrupt as error:
                ctrl_c.hold()
                raise KeyboardInterrupt(self._kept(files, news, writers)) from error
            except BaseException:
                for writer in writers:
                    writer.abandon()
                raise
            for writer in writers:
                writer.close(self.way.legs)
        return self._said(files)

    def _writer(self, file: Path, new: Path) -> Writer:
        metadata = {"title": ", ".join(s.title for s in self.subjects), "comment": "; ".join(self.captions)}
        size = (self.canvas.width, self.canvas.height)
        return WRITERS[file.suffix.lower()](new, size, self.rate, metadata)

    def _write(self, writers: list[Writer], poster: Path | None, progress: bool, ctrl_c: _CtrlC) -> None:
        cues = iter(self.way.cues(max(1, int(READ * self.rate))))
        cue, total = next(cues), len(self.way.places)
        with steps(total, "frames", progress) as bar:
            for number, (place, found) in enumerate(self._shots()):
                if number == cue.first:
                    self._measure(cue, place, found)
                said = f"place ({place[0]}, {place[1]}), {cue.title}"
                frame = self.canvas.frame(place, said, found)
                with ctrl_c.held():
                    for writer in writers:
                        writer.add(frame)
                    if number + 1 == cue.end:
                        self._say(writers, cue.end)
                        cue = next(cues, cue)
                if poster is not None and number == total // 2:
                    from PIL import Image

                    Image.fromarray(frame).save(poster)
                bar.update()

    def _say(self, writers: list[Writer], end: int) -> None:
        self.cues[-1]["end"] = end
        for writer in writers:
            writer.say(self.cues[-1]["text"], self.cues[-1]["first"], end)

    def _shots(self) -> Iterator[tuple[Place, list[dict[str, Reading]]]]:
        """Every frame's place and readings, which are computed once where the probe rests."""
        places = self.way.distinct()
        sources = [{kind: s.readings(kind, places) for kind in self.kinds} for s in self.subjects]
        last, found = None, []
        for place in self.way.places:
            if place != last:
                last = place
                found = [{kind: next(source[kind]) for kind in self.kinds} for source in sources]
            self._count(found)
            yield place, found

    def _count(self, found: list[dict[str, Reading]]) -> None:
        for i, (subject, readings) in enumerate(zip(self.subjects, found)):
            for kind, reading in readings.items():
                self.beyond[i][kind] += reading.largest > subject.limits[kind]
                if kind == "row":
                    self.errors[i] = max(self.errors[i] or 0.0, reading.sums["error"])

    def _measure(self, cue: Leg, place: Place, found: list[dict[str, Reading]]) -> None:
        """Begin a subtitle: what is measured in its first frame."""
        lines = [f"{cue.title}: at ({place[0]}, {place[1]})"]
        for subject, readings in zip(self.subjects, found):
            said = [f"{kind} {reading.text()}" for kind, reading in readings.items()]
            if "row" in readings:
                said.append(f"<row, x0> + r = y0 to {readings['row'].sums['error']:.1e}")
            lines.append(f"{subject.title}: {'; '.join(said)}")
        numbers = [{kind: reading.numbers() for kind, reading in each.items()} for each in found]
        known = {"first": cue.first, "end": cue.end, "place": place}
        self.cues.append({**known, "text": "\n".join(lines), "networks": numbers})

    def _kept(self, files: list[Path], news: list[Path], writers: list[Writer]) -> str:
        """Finish the files with the frames that are there; says where they are."""
        count = writers[0].count
        if count == 0:
            for writer in writers:
                writer.abandon()
            return "no frame was done"
        if self.cues and self.cues[-1]["first"] < count < self.cues[-1]["end"]:
            self._say(writers, count)
        kept = []
        for file, new, writer in zip(files, news, writers):
            writer.close(self.way.legs)
            target = file.with_stem(f"{file.stem}-part") if file.exists() else file
            os.replace(new, target)
            kept.append(str(target))
        return f"the first {count} of {len(self.way.places)} frames are in {', '.join(kept)}"

    def _said(self, files: list[Path]) -> Video:
        measured = tuple(
            {"title": s.title, "scale_ends": s.limits, "frames_beyond": b, "error": e}
            for s, b, e in zip(self.subjects, self.beyond, self.errors)
        )
        size = (self.canvas.width, self.canvas.height)
        names = tuple(map(str, files))
        frames = len(self.way.places)
        return Video(names, frames, float(self.rate), size, self.way, self.scale, measured, tuple(self.cues))


class _CtrlC:
    """Ctrl-C at once while filters are computed, and after what is being written where it is held.

    Signals are for the main thread, and a program's own handler stays.
    """

    def __init__(self) -> None:
        self.is_held, self.asked = False, False
        self.before: Any = None

    def __enter__(self) -> _CtrlC:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self.before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if not self.is_held:
            raise KeyboardInterrupt

    def hold(self) -> None:
        """Hear nothing from here on: the files are being completed."""
        self.is_held = True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Raise ``KeyboardInterrupt`` after the block, if it was asked for in it."""
        self.is_held = True
        yield
        self.is_held = False
        if self.asked:
            raise KeyboardInterrupt
