"""Studies: networks x images x measures, in many processes; and mean maps between two places."""

from .images import digits, photographs
from .lens import load_lens, save_lens
from .mean_map import MeanMap, mean_map
from .report import report
from .run import study
from .status import Status, status
from .summary import Study

__all__ = [
    "MeanMap",
    "Status",
    "Study",
    "digits",
    "load_lens",
    "mean_map",
    "photographs",
    "report",
    "save_lens",
    "status",
    "study",
]
