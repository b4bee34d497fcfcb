"""F.normalize: x over its own norm, the norm frozen."""

import torch
import torch.nn.functional as F

from ..twins import Divide
from .declare import Sample, normalize


def stats(x, p=2.0, dim=1, eps=1e-12):
    return Divide(torch.linalg.vector_norm(x, p, dim, True).clamp_min(eps))


RULE = normalize("normalize", F.normalize, stats, None, None, samples=(Sample(), Sample(kwargs={"dim": -1})), formula="h(x) = x/max(|x|, e);  y1 = x1/max(|x0|, e)", source="the paper, Fig. 2")
