"""The conformance matrix: one line a network, by which frontend it is taken, which rules it uses, and how well the laws hold."""

from .measure import measure
from .suites import SUITES, members

__all__ = ["SUITES", "measure", "members"]
