"""Hugging Face networks from configurations, without weights: two layers, 32 to 64 channels."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

B, L, VOCABULARY = 2, 7, 50


def tokens() -> dict[str, torch.Tensor]:
    """Random token ids."""
    return {"input_ids": torch.randint(0, VOCABULARY, (B, L), generator=torch.Generator().manual_seed(0))}


def pixels(size: int = 32) -> dict[str, torch.Tensor]:
    """A random image."""
    return {"pixel_values": torch.randn(B, 3, size, size, generator=torch.Generator().manual_seed(0))}


def _language(kind: str, **more: Any) -> tuple[nn.Module, dict]:
    """A decoder with grouped-query attention, RMS norms, rotary embeddings and a gated MLP."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        use_cache=False,
        **more,
    )
    return getattr(transformers, f"{kind}ForCausalLM")(config), tokens()


def llama() -> tuple[nn.Module, dict]:
    """A decoder of the Llama family."""
    return _language("Llama")


def qwen2() -> tuple[nn.Module, dict]:
    """A decoder of the Qwen2 family."""
    return _language("Qwen2")


def mistral() -> tuple[nn.Module, dict]:
    """A decoder of the Mistral family, with a sliding window."""
    return _language("Mistral", sliding_window=4)


def gpt2() -> tuple[nn.Module, dict]:
    """GPT-2 with its language head."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return (
        GPT2LMHeadModel(
            GPT2Config(vocab_size=VOCABULARY, n_positions=32, n_embd=32, n_layer=2, n_head=4, use_cache=False)
        ),
        tokens(),
    )


def bert() -> tuple[nn.Module, dict]:
    """BERT as a classifier, with padded tokens."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(  # type: ignore[call-arg]  # an option of its base class
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=32,
        num_labels=3,
    )
    mask = torch.ones(B, L, dtype=torch.int64)
    mask[1, -2:] = 0
    return BertForSequenceClassification(config), {**tokens(), "attention_mask": mask}


def _vision(kind: str, head: str, size: int = 32, **more: Any) -> tuple[nn.Module, dict]:
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=size,
        patch_size=8,
        **more,
    )
    return getattr(transformers, f"{kind}{head}")(config), pixels(size)


def vit() -> tuple[nn.Module, dict]:
    """ViT as a classifier."""
    return _vision("ViT", "ForImageClassification", num_labels=3)


def deit() -> tuple[nn.Module, dict]:
    """DeiT as a classifier."""
    return _vision("DeiT", "ForImageClassification", num_labels=3)


def clip_vision() -> tuple[nn.Module, dict]:
    """CLIP's image encoder."""
    return _vision("CLIPVision", "Model")


def segformer() -> tuple[nn.Module, dict]:
    """SegFormer for segmentation."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(  # type: ignore[call-arg]  # an option of its base class
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 16, 32],
        num_attention_heads=[1, 2, 2, 4],
        decoder_hidden_size=16,
        num_labels=3,
    )
    return SegformerForSemanticSegmentation(config), pixels(64)


def convnext_v2() -> tuple[nn.Module, dict]:
    """ConvNeXt-V2 as a classifier."""
    from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

    options: dict = {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1], "num_labels": 3}
    return ConvNextV2ForImageClassification(ConvNextV2Config(**options)), pixels(64)


def swin2sr() -> tuple[nn.Module, dict]:
    """Swin2SR for super-resolution."""
    from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution

    config = Swin2SRConfig(
        image_size=16,
        patch_size=1,
        embed_dim=16,
        depths=[2, 2],
        num_heads=[2, 2],
        window_size=8,
        upscale=2,
        upsampler="pixelshuffle",
    )
    return Swin2SRForImageSuperResolution(config), pixels(16)


def unet2d() -> tuple[nn.Module, dict]:
    """The U-Net of diffusers."""
    from diffusers import UNet2DModel

    model: Any = UNet2DModel(
        sample_size=16,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    return model, {"sample": pixels(16)["pixel_values"], "timestep": torch.tensor([3, 11])}


MODELS = {
    "GPT-2": gpt2,
    "BERT": bert,
    "ViT": vit,
    "DeiT": deit,
    "Llama": llama,
    "Qwen2": qwen2,
    "Mistral": mistral,
    "CLIP vision": clip_vision,
    "SegFormer": segformer,
    "ConvNeXt-V2": convnext_v2,
    "Swin2SR": swin2sr,
}
