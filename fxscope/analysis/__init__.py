"""The analyses of the paper, as functions that return records.

Every record has ``.to_json()``, ``.save()`` and ``.load()``, is shown as a table in a notebook, and has
``.plot()`` if there is a figure of it.
"""

from .adversarial import FGSM, fgsm
from .compare import Comparison, compare
from .contributions import Contributions
from .discussion import READINGS, PixelDiscussion, pixel_discussion
from .faithfulness import Faithfulness, faithfulness
from .images import (
    Diagonal,
    Energy,
    Invariance,
    Source,
    copy_move,
    diagonal,
    energy_against_distance,
    invariance,
)
from .layers import LayerContributions, layer_contributions
from .reach import Reach, reach
from .share import ResidualShare, Share, residual_share
from .storage import Storage, storage
from .votes import PixelVotes, pixel_votes
from .votes_study import VotesStudy, votes_study

__all__ = [
    "FGSM",
    "READINGS",
    "Comparison",
    "Contributions",
    "Diagonal",
    "Energy",
    "Faithfulness",
    "Invariance",
    "LayerContributions",
    "PixelDiscussion",
    "PixelVotes",
    "Reach",
    "ResidualShare",
    "Share",
    "Source",
    "Storage",
    "VotesStudy",
    "compare",
    "copy_move",
    "diagonal",
    "energy_against_distance",
    "faithfulness",
    "fgsm",
    "invariance",
    "layer_contributions",
    "pixel_discussion",
    "pixel_votes",
    "reach",
    "residual_share",
    "storage",
    "votes_study",
]
