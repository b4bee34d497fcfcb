"""Scaled dot-product attention, written out: the softmax is a frozen pattern, the values stay linear."""

import math

import torch
import torch.nn.functional as F

from .declare import Sample, composite


def expand(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    if enable_gqa:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
        value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
    scores = torch.matmul(query, key.transpose(-2, -1)) * (query.size(-1) ** -0.5 if scale is None else scale)
    if is_causal:
        seen = torch.ones([query.size(-2), key.size(-2)], dtype=torch.bool, device=query.device).tril()
        scores = torch.masked_fill(scores, torch.bitwise_not(seen), -math.inf)
    pattern = torch.softmax(scores, -1) if attn_mask is None else _masked(scores, attn_mask)
    if dropout_p > 0:
        # the bounds mark it as a gate
        pattern = torch.clamp(F.dropout(pattern, dropout_p, True), 0.0, 1 / (1 - dropout_p))
    return torch.matmul(pattern, value)


def _masked(scores, mask):
    """Softmax under a mask of bits (set: seen) or of numbers (added).

    Rows that see nothing are zeros, as torch's are.
    """
    ones = torch.ones_like(mask)
    numbers = mask.to(scores.dtype)
    bits = (ones + ones).to(scores.dtype) == 1  # True + True is True: the dtype, as a value of the graph
    unseen = torch.where(numbers == 0, torch.full_like(numbers, -math.inf), torch.zeros_like(numbers))
    scores = scores + torch.where(bits, unseen, numbers)
    blind = torch.amax(scores.detach(), -1, True) == -math.inf
    pattern = torch.softmax(torch.masked_fill(scores, blind, 0.0), -1)  # finite where nothing is seen, too
    return torch.masked_fill(pattern, blind, 0.0)


def _mask(draw):
    return lambda rng: draw(torch.rand(5, 5, generator=rng, dtype=torch.float64))


def _bits(x):
    return (x > 0.4) & (torch.arange(5) != 2)[:, None]  # the third row sees nothing


_Q = (2, 2, 5, 4)
RULE = composite(
    "scaled_dot_product_attention",
    F.scaled_dot_product_attention,
    expand,
    "the fused kernel sums in another order",
    carries=("query", "key", "value"),
    functions=(torch.ops.aten.scaled_dot_product_attention.default,),
    samples=(
        Sample(_Q, call=lambda f, x: f(x, x * 0.5, x)),
        Sample(_Q, {"is_causal": True}, call=lambda f, x, **k: f(x, x, x, **k)),
        Sample(_Q, {"scale": 0.3}, call=lambda f, x, **k: f(torch.tanh(x), x, x, **k)),
        Sample(_Q, tensors={"attn_mask": _mask(_bits)}, call=lambda f, x, **k: f(x, x, x, **k)),
        Sample(_Q, tensors={"attn_mask": _mask(lambda x: x)}, call=lambda f, x, **k: f(x, x, x, **k)),
        Sample((2, 4, 5, 4), {"enable_gqa": True}, call=lambda f, x, **k: f(x, x[:, :2], x[:, 2:], **k)),
    ),
    formula="y = softmax(q k^T/s) v;  y1 = softmax(q0 k0^T/s) v1",
    source="the pattern is the frozen gate of the values, as in the paper, Fig. 2",
)
