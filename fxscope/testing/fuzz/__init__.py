"""The fuzzer: networks drawn as source text with the habits of real code, held against every law, and shrunk where they fail."""

from .check import Finding, Result, check
from .draw import draw
from .network import Network
from .report import Report, fuzz
from .shrink import shrink

__all__ = ["Finding", "Network", "Report", "Result", "check", "draw", "fuzz", "shrink"]
