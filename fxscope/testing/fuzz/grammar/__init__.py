"""The grammar of drawn networks: productions, each of which adds a statement with a habit of real code."""

from . import code, elementwise, layers, products, shapes, writes
from .base import PRODUCTIONS, Draw, Production, Unsuitable, production

__all__ = ["PRODUCTIONS", "Draw", "Production", "Unsuitable", "production"]

del code, elementwise, layers, products, shapes, writes
