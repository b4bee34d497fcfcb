"""Files of moving pictures, written frame by frame: MP4 with subtitles and chapters, GIF, WebP."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FxscopeError
from ...results.files import replacing
from .walks import Leg

SUFFIXES = (".mp4", ".gif", ".webp")
NEEDED = 18  # the version of PyAV that writes chapters and subtitles
# a file that is cut off anywhere plays up to there
FRAGMENTS = "frag_keyframe+empty_moov+default_base_moof"
TICKS = 1000  # of a frame: subtitles have the clock of the pictures, on which the muxer relies
# the encoder of subtitles asks for a style, which players replace by their own
STYLE = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def pyav() -> Any:
    """PyAV, or an error that says how it and Pillow are installed."""
    try:
        import av
        import PIL  # noqa: F401  which draws the frames
    except ModuleNotFoundError as error:
        raise FxscopeError("films are made by PyAV and Pillow: pip install 'fxscope[video]'") from error
    if int(av.__version__.partition(".")[0]) < NEEDED:
        raise FxscopeError(
            f"films need PyAV {NEEDED} or newer, and this is {av.__version__}: pip install -U"
            " 'fxscope[video]'"
        )
    return av


class Writer:
    """One file of frames (H, W, 3) of bytes.

    Parameters
    ----------
    path
        The new file.
    size
        Width and height.
    fps
        Frames for one second.
    metadata
        Title and comment, where the format has them.
    """

    codec, pixels = "", "yuv420p"
    options: dict[str, str] = {}  # of the container
    tuning: dict[str, str] = {}  # of the encoder

    def __init__(self, path: Path, size: tuple[int, int], fps: Fraction, metadata: dict[str, str]) -> None:
        self.path, self.fps, self.metadata, self.count = path, fps, metadata, 0
        self.file = self._opened(path)
        self.pictures = self.file.add_stream(self.codec, rate=fps, options=self.tuning)
        self.pictures.width, self.pictures.height = size
        self.pictures.pix_fmt = self.pixels
        self.pictures.codec_context.time_base = 1 / fps

    def _opened(self, path: Path) -> Any:
        found = pyav().open(str(path), "w", format=path.suffix[1:], options=self.options)
        found.metadata.update(self.metadata)
        return found

    def add(self, frame: np.ndarray) -> None:
        """Write the next frame."""
        made = self._frame(frame)
        made.pts, made.time_base = self.count, 1 / self.fps
        self.count += 1
        self.file.mux(self.pictures.encode(made))

    def _frame(self, frame: np.ndarray) -> Any:
        return pyav().VideoFrame.from_ndarray(frame, format="rgb24")

    def say(self, text: str, first: int, end: int) -> None:
        """A subtitle from one frame up to another; of files that have none, nothing."""

    def close(self, chapters: Sequence[Leg]) -> None:
        """Write what is left."""
        self.file.mux(self.pictures.encode(None))
        self.file.close()

    def abandon(self) -> None:
        """Let go of a file that is not finished."""
        with contextlib.suppress(Exception):  # another error is on its way
            self.file.close()


class MP4(Writer):
    """H.264 and a track of subtitles; chapters are known at the end, when the packets are copied."""

    codec = "libx264"
    # without B-frames no time is shifted
    tuning = {"crf": "20", "preset": "medium", "bf": "0"}

    def __init__(self, path: Path, size: tuple[int, int], fps: Fraction, metadata: dict[str, str]) -> None:
        self.clock = int(fps.limit_denominator(TICKS) * TICKS) if fps >= 1 else TICKS
        self.options = {"movflags": FRAGMENTS, "video_track_timescale": str(self.clock)}
        super().__init__(path, size, fps, metadata)
        self.pictures.codec_context.gop_size = max(1, round(2 * fps))  # a place to start every two seconds
        self.words = self.file.add_stream("mov_text")
        self.words.codec_context.subtitle_header = STYLE
        self.words.codec_context.time_base = self.words.time_base = Fraction(1, self.clock)
        self.words.metadata["language"] = "eng"
        self.file.start_encoding()

    def _at(self, frame: int) -> int:
        return round(frame / self.fps * self.clock)

    def say(self, text: str, first: int, end: int) -> None:
        """A subtitle from one frame up to another."""
        self.file.mux(self._words(self.words, text, self._at(first), self._at(end)))

    def _words(self, stream: Any, text: str, first: int, end: int) -> Any:
        """A packet of a subtitle, from one tick of the clock up to another."""
        data = text.encode()
        packet = pyav().Packet(len(data).to_bytes(2, "big") + data)  # how a sample of mov_text is made
        packet.stream, packet.time_base = stream, Fraction(1, self.clock)
        packet.pts = packet.dts = first
        packet.duration = end - first
        return packet

    def close(self, chapters: Sequence[Leg]) -> None:
        """Write what is left, and the chapters of the frames that there are."""
        super().close(chapters)
        there = [leg for leg in chapters if leg.first < self.count]
        with (
            replacing(self.path) as new,
            pyav().open(str(self.path)) as old,
            self._opened(new) as copy,
        ):
            copy.set_chapters([self._chapter(i, leg) for i, leg in enumerate(there)])
            streams = {s.index: copy.add_stream_from_template(s) for s in old.streams}
            for stream in streams.values():
                stream.time_base = Fraction(1, self.clock)
            streams[self.words.index].metadata["language"] = "eng"
            for packet in old.demux():
                if packet.dts is not None and packet.size > 2:  # shorter ones end a subtitle
                    packet.stream = streams[packet.stream.index]
                    copy.mux(packet)
            # the muxer ends the track by a sample as long as its last one: this one takes a tick
            end = self._at(self.count)
            copy.mux(self._words(streams[self.words.index], "", end, end + 1))

    def _chapter(self, number: int, leg: Leg) -> dict[str, Any]:
        return {
            "id": number,
            "start": self._at(leg.first),
            "end": self._at(min(leg.end, self.count)),
            "time_base": Fraction(1, self.clock),
            "metadata": {"title": leg.title},
        }


class GIF(Writer):
    """A GIF; every frame has the 256 colours that suit it."""

    codec, pixels = "gif", "pal8"

    def _frame(self, frame: np.ndarray) -> Any:
        from PIL import Image

        found = Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE)
        colours = np.frombuffer(bytes(found.getpalette("RGB") or ()), np.uint8).reshape(-1, 3)
        palette = np.full((256, 4), 255, np.uint8)  # opacity, red, green, blue
        palette[: len(colours), 1:] = colours
        return pyav().VideoFrame.from_ndarray((np.array(found), palette), format="pal8")


class WebP(Writer):
    """An animated WebP, which is repeated without end."""

    codec, options = "libwebp_anim", {"loop": "0"}
    tuning = {"quality": "70", "compression_level": "5"}


WRITERS: dict[str, type[Writer]] = {".mp4": MP4, ".gif": GIF, ".webp": WebP}


def check_suffix(path: Path, *allowed: str) -> None:
    """Raise ``FxscopeError`` if a file of that suffix is not written."""
    if path.suffix.lower() not in allowed:
        raise FxscopeError(f"video writes {' or '.join(allowed)}, got {path.name}: give that suffix")
