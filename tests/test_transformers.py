"""Hugging Face networks from configurations.

The laws in float64, tokens probed at their embedding, the detached Jacobian.
"""

from __future__ import annotations

import math

import pytest
import torch
from chosen import chosen
from torch import nn

import fxscope
from fxscope.emit import emit
from fxscope.emit.pipeline import program_of
from fxscope.frontend.example import Example
from fxscope.passes.outputs import main_output
from fxscope.testing import Widened, laws, randomize
from fxscope.testing.conformance import huggingface, measure, members

D = torch.float64
BIAS_FREE = {"Llama", "Mistral"}
EVERY = {**members("transformers"), **members("diffusers")}
FAST = chosen({"ViT"}, EVERY)


@pytest.mark.filterwarnings("ignore")  # the model library's own
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in FAST else pytest.mark.full) for n in EVERY]
)
def test_laws(name):
    line = measure(EVERY[name])
    assert line["status"] == "ok", line
    assert line["share"] == 0 if name in BIAS_FREE else line["share"] > 0.05
    assert {"1", "2", "3", "4", "5", "6", "8", "11"} <= set(line["laws"])  # "ok": none is above its bound


@pytest.fixture(scope="module")
def llama():
    model, tokens = huggingface.llama()
    model = model.double().eval()
    with Widened(), torch.no_grad():
        randomize(model, **tokens)
    return model, tokens


def test_tokens_are_probed_at_their_embedding(llama):
    model, tokens = llama
    with Widened(), torch.no_grad():
        lin = fxscope.interpret(model, **tokens)
        assert torch.equal(lin.x, model.get_input_embeddings()(tokens["input_ids"])) and torch.equal(
            lin.x0, tokens["input_ids"]
        )
        # attention is written out, so not bit for bit
        assert laws.distance(lin.y0, main_output(model(**tokens))) < 1e-12
        parts = lin.contributions({(-1, 3): 1.0, (-1, 5): -1.0})
    expected = lin.y0[:, -1, 3] - lin.y0[:, -1, 5]
    assert torch.allclose(parts.output, expected, rtol=1e-12) and parts.error < 1e-9
    assert parts.by_token().shape == tokens["input_ids"].shape and torch.allclose(
        parts.by_token().sum(1), parts.linear, rtol=1e-9, atol=1e-12
    )
    layers = parts.by_layer(3)
    assert torch.allclose(torch.as_tensor(sum(layers.values())), torch.as_tensor(parts.residual), atol=1e-12)


def detached_llama(model: nn.Module, e: torch.Tensor) -> torch.Tensor:
    """Logits from embeddings with norm scales, attention patterns and gates detached.

    See Golden, "LLMs are locally linear mappings".
    """
    config = model.config
    h = config.num_attention_heads
    size = config.hidden_size // h
    position = torch.arange(e.shape[1], dtype=D)
    inverse = model.model.rotary_emb.inv_freq.double()
    angle = torch.cat([torch.outer(position, inverse)] * 2, -1)
    cos, sin = angle.cos(), angle.sin()

    def rms(layer, x):
        return layer.weight * (
            x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + layer.variance_epsilon).detach()
        )

    def turn(x):
        return x * cos + torch.cat([-x[..., size // 2 :], x[..., : size // 2]], -1) * sin

    def heads(x):
        x = x.unflatten(-1, (-1, size)).transpose(1, 2)
        return x.repeat_interleave(h // x.shape[1], 1)

    for layer in model.model.layers:
        n, a = rms(layer.input_layernorm, e), layer.self_attn
        scores = turn(heads(a.q_proj(n))) @ turn(heads(a.k_proj(n))).transpose(-2, -1) / math.sqrt(size)
        pattern = torch.softmax(
            scores + torch.full(scores.shape[-2:], -math.inf, dtype=D).triu(1), -1
        ).detach()
        e = e + a.o_proj((pattern @ heads(a.v_proj(n))).transpose(1, 2).flatten(2))
        n, m = rms(layer.post_attention_layernorm, e), layer.mlp
        e = e + m.down_proj(nn.functional.silu(m.gate_proj(n)).detach() * m.up_proj(n))
    return model.lm_head(rms(model.model.norm, e))


def test_preset_detach_is_the_detached_jacobian(llama):
    model, tokens = llama
    with Widened():
        with torch.no_grad():
            lin = fxscope.interpret(model, **tokens, policy="detach")
            e = lin.x
            assert model.model.rotary_emb.inv_freq.dtype == D
            v = torch.randn(e.shape, generator=torch.Generator().manual_seed(0), dtype=D)
            got = lin.F @ v
        assert laws.distance(detached_llama(model, e), lin.y0) < 1e-12
        expected = laws.twice_transposed(lambda x: (detached_llama(model, x),), e, v)
    assert laws.distance(got, expected[0]) < 1e-12
    assert lin.residual.abs().max() < 1e-12, "without biases the detached network is linear"


def gpt2_small():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(use_cache=False)), {"input_ids": torch.randint(0, 50257, (2, 8))}


def vit_b_16():
    import torchvision

    torch.manual_seed(0)
    x0 = torch.randn(2, 3, 224, 224)
    return randomize(torchvision.models.vit_b_16(weights=None), x0), {"x": x0}


FILES = [
    pytest.param(huggingface.gpt2, form, marks=pytest.mark.full) for form in ("pair", "filter", "adjoint")
]
FILES += [
    pytest.param(make, form, marks=pytest.mark.full)
    for make in (gpt2_small, vit_b_16)
    for form in ("pair", "filter", "adjoint")
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "form"), FILES)
def test_saved(make, form, tmp_path):
    """Pair, filter and adjoint in .pt2, loaded where fxscope is not.

    They run with any number of probes and images; ``full``: GPT-2 small and ViT-B/16.
    """
    model, inputs = make()
    program = program_of(model.eval(), example_inputs=Example((), inputs))
    (x0,) = inputs.values()
    with torch.no_grad():
        shape = (
            program.probes[0].node.meta["val"].shape
            if form != "adjoint"
            else main_output(model(**inputs)).shape
        )
    check = fxscope.save(emit(program, form, "stacked"), tmp_path / "graph.pt2", (x0, torch.randn(2, *shape)))
    assert check.ok


@pytest.mark.turns(2)
@pytest.mark.filterwarnings("ignore")  # the model library's own
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.full)], ids=str
)
def test_a_default_llama_with_its_cache(dtype):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).to(dtype).eval()
    tokens = torch.randint(0, 50, (1, 7))
    with torch.no_grad():
        assert model(tokens).past_key_values is not None
        lin = fxscope.interpret(model, input_ids=tokens)
        cacheless = fxscope.interpret(model, input_ids=tokens, use_cache=False)
    bound = max(8 * torch.finfo(dtype).eps, 1e-6)  # its norms compute in float32
    assert laws.distance(lin.y0.double(), model(tokens).logits.detach().double()) < bound
    assert laws.distance(lin.F.row((-1, 3)).double(), cacheless.F.row((-1, 3)).double()) < bound
    assert abs(float(lin.contributions((-1, 3)).total - lin.y0[0, -1, 3])) < bound
