"""Where an operator comes from: model, hashes of weights and image, policy, versions (of the interpretation, too); stands with every saved result."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from .._version import __version__
from ..graph.interpretation import KEY, VERSION


def digest(*tensors: torch.Tensor) -> str:
    """SHA-256 of shapes, types and bytes, the first 16 digits."""
    found = hashlib.sha256()
    for t in tensors:
        found.update(f"{tuple(t.shape)} {t.dtype}".encode())
        found.update(
            t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() if t.numel() else b""
        )
    return found.hexdigest()[:16]


def of_interpreter(lin: Any) -> dict[str, Any]:
    """What F of an interpreter is the F of."""
    state = lin.model.state_dict()
    return {
        "model": type(lin.model).__name__,
        "weights": digest(*(state[n] for n in sorted(state))),
        "image": digest(*lin._args),
        "policy": lin.policy,
        **of_operator(lin.F),
        "operator": "F",
        "error": lin.error,
    }


def caption(origin: dict[str, Any]) -> str:
    """What a figure says of where its numbers come from: model, policy, dtype, and the verification error."""
    said = [str(origin[n]) for n in ("model", "policy", "dtype") if n in origin]
    return ", ".join(said + ([f"verified to {origin['error']:.0e}"] if "error" in origin else []))


def of_operator(F: Any) -> dict[str, Any]:
    """What is known of any operator."""
    return {
        "operator": repr(F),
        "shape": list(F.shape),
        "dtype": str(F.dtype).removeprefix("torch."),
        "fxscope": __version__,
        "torch": torch.__version__,
        KEY: VERSION,
    }
