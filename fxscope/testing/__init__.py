"""What tests of fxscope, and of your own rules, are made of."""

from .precision import Widened
from .randomize import randomize
from .rule import check_rule

__all__ = ["Widened", "check_rule", "randomize"]
