"""The fuzzer draws networks as source text in the style of real code, checks every law, and shrinks failures.

``draw.draw`` gives the network of a seed, ``check.check`` what is wrong with it, and ``shrink.shrink`` a
smaller network that fails in the same way.
"""

from .report import Report, fuzz

__all__ = ["Report", "fuzz"]
