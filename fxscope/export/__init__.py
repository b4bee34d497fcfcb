"""Saving emitted graphs for use where fxscope is not installed."""

from .check import SavedCheck
from .save import check_saved, save

__all__ = ["SavedCheck", "check_saved", "save"]
