"""What tests of fxscope, and of your own rules, are made of."""

from .randomize import randomize

__all__ = ["randomize"]
