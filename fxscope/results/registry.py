"""Methods that a later room adds to a class; emitted graphs have them too, so they are kept in ``graph``."""

from ..graph.registry import known, provided, provides

__all__ = ["known", "provided", "provides"]
