"""The fuzzer: networks drawn as source text with the habits of real code, held against every law, and shrunk where they fail.

``draw.draw`` gives the network of a seed, ``check.check`` what is wrong with it, ``shrink.shrink`` a smaller one that fails in the same way.
"""

from .report import Report, fuzz

__all__ = ["Report", "fuzz"]
