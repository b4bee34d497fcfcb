"""Photographs larger than memory: the interpreter of a local network, one tile after the other."""

from .tiled import TiledInterpreter, side_of, tiled
from .tiling import Tile

__all__ = ["Tile", "TiledInterpreter", "side_of", "tiled"]
