"""What the paper asks of linear interpreters, as functions that return small records: ``.plot()``, ``.to_json()``."""

from .adversarial import FGSM, fgsm
from .discussion import PixelDiscussion, pixel_discussion
from .images import (
    Diagonal,
    Energy,
    Invariance,
    Reach,
    Source,
    copy_move,
    diagonal,
    energy_against_distance,
    invariance,
    reach,
)
from .layers import LayerContributions, layer_contributions
from .share import ResidualShare, Share, residual_share
from .votes import PixelVotes, pixel_votes

__all__ = [
    "FGSM",
    "Diagonal",
    "Energy",
    "Invariance",
    "LayerContributions",
    "PixelDiscussion",
    "PixelVotes",
    "Reach",
    "ResidualShare",
    "Share",
    "Source",
    "copy_move",
    "diagonal",
    "energy_against_distance",
    "fgsm",
    "invariance",
    "layer_contributions",
    "pixel_discussion",
    "pixel_votes",
    "reach",
    "residual_share",
]
