"""The conformance matrix: for each network, its frontend, its rules, and how well the laws hold."""

from .measure import measure
from .suites import SUITES, members

__all__ = ["SUITES", "measure", "members"]
