"""Emit: plain, standalone GraphModules from a program's original graph and tape."""

from .forward import emit

__all__ = ["emit"]
