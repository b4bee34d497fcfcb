"""A small Llama over characters, with the keys of ``transformers.LlamaForCausalLM``."""

from __future__ import annotations

import string

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import WrongArgument
from ..graph.arguments import checked

CHARACTERS = "\n !'(),-.:;?" + string.ascii_letters
LONGEST = 512  # places for which the rotations are kept


class Attention(nn.Module):
    """Causal attention of several heads, queries and keys rotated by their places; no bias."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Apply the module to x, (B, T, D), with the rotations of T places."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = (t * cos + _turned(t) * sin for t in (q, k))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).flatten(2))


class GatedUnits(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """x + attention(norm(x)), and then x + units(norm(x))."""

    def __init__(self, width: int, heads: int, inner: int):
        super().__init__()
        self.self_attn, self.mlp = Attention(width, heads), GatedUnits(width, inner)
        self.input_layernorm, self.post_attention_layernorm = (nn.RMSNorm(width, eps=1e-6) for _ in range(2))

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Apply the module to x, with the rotations of its places."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class _Body(nn.Module):
    """Embeddings, layers and the last norm."""

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, layers: int, width: int, heads: int, inner: int):
        super().__init__()
        self.embed_tokens = nn.Embedding(len(CHARACTERS), width)
        self.layers = nn.ModuleList(Layer(width, heads, inner) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        side = width // heads
        speeds = 10000.0 ** (-torch.arange(0, side, 2) / side)
        angles = torch.outer(torch.arange(LONGEST), speeds).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The last states, (B, T, D)."""
        places = torch.ones_like(tokens[0]).cumsum(0) - 1
        cos, sin = F.embedding(places, self.cos), F.embedding(places, self.sin)
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)


class CharacterLlama(nn.Module):
    """A Llama over characters: (B, T) numbers of ``encode`` to (B, T, 64) logits of the next character.

    It has no bias anywhere: the logits are sums over the embeddings of the characters alone (r = 0). Its
    keys are those of ``transformers.LlamaForCausalLM``.

    Parameters
    ----------
    layers, width, heads, inner : int
        Layers, features, heads of attention, and gated units of a layer.
    """

    CHARACTERS = CHARACTERS

    @checked
    def __init__(self, layers: int = 3, width: int = 128, heads: int = 4, inner: int = 208):
        super().__init__()
        self.model = _Body(layers, width, heads, inner)
        self.lm_head = nn.Linear(width, len(CHARACTERS), bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The logits of the next character after every place."""
        return self.lm_head(self.model(tokens))

    @staticmethod
    @checked
    def encode(text: str) -> torch.Tensor:
        """The numbers (1, T) of a text's characters; ``WrongArgument`` names those that it does not know."""
        unknown = sorted(set(text) - set(CHARACTERS))
        if unknown or not text:
            given = f"the characters {unknown}" if text else "an empty text"
            raise WrongArgument(
                f"encode: {given}; the network knows letters, spaces, line breaks and !'(),-.:;? alone"
            )
        return torch.tensor([[CHARACTERS.index(c) for c in text]])

    @staticmethod
    @checked
    def decode(tokens: torch.Tensor) -> str:
        """The text of numbers that ``encode`` gives, of any shape."""
        return "".join(CHARACTERS[int(n)] for n in tokens.flatten())


def _turned(x: torch.Tensor) -> torch.Tensor:
    """The rotation by a right angle in each plane of features (i, i + half)."""
    left, right = x.chunk(2, -1)
    return torch.cat([-right, left], -1)
