"""Films of the filter matrix: a probe walks over a photograph, and the rows and columns there are shown."""

from .film import Video, video

__all__ = ["Video", "video"]
