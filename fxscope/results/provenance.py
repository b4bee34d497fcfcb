"""Provenance of a result: the model, hashes of its weights and image, the policy, and the versions.

It is saved with every result; the version of the interpretation is part of it.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from .._version import __version__
from ..graph.interpretation import KEY, VERSION


def digest(*parts: torch.Tensor | str) -> str:
    """Hash of tensors (their shapes, dtypes and bytes) and texts.

    It is the first 16 hexadecimal digits of SHA-256.
    """
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            found.update(part.encode())
            continue
        found.update(f"{tuple(part.shape)} {part.dtype}".encode())
        if part.numel():
            found.update(part.detach().cpu().to_dense().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def of_interpreter(lin: Any) -> dict[str, Any]:
    """Provenance of the operator F of a ``LinearInterpreter``."""
    state = lin.model.state_dict()
    return {
        "model": type(lin.model).__name__,
        "weights": digest(*(state[n] for n in sorted(state))),
        "image": digest(*lin._args),
        "policy": lin.policy,
        **({"linearised": list(lin.linearised)} if lin.linearised else {}),
        **of_operator(lin.F),
        "operator": "F",
        "error": lin.error,
    }


def of_network(model: torch.nn.Module, policy: Any, *inputs: torch.Tensor) -> dict[str, Any]:
    """Provenance of a result about a network at images; ``policy`` is None where none matters."""
    state = model.state_dict()
    dtype = next((str(t.dtype) for t in (*inputs, *state.values()) if t.is_floating_point()), "")
    return {
        "model": type(model).__name__,
        "weights": digest(*(state[n] for n in sorted(state))),
        **({"image": digest(*inputs)} if len(inputs) == 1 and len(inputs[0]) == 1 else {}),
        **({} if policy is None else {"policy": str(policy)}),
        **({"dtype": dtype.removeprefix("torch.")} if dtype else {}),
        "fxscope": __version__,
        "torch": torch.__version__,
        KEY: VERSION,
    }


def picture(x0: Any) -> torch.Tensor | None:
    """The image (C, H, W) that a figure shows of an input; None where it is none, or several."""
    is_image = isinstance(x0, torch.Tensor) and x0.dim() == 4 and len(x0) == 1 and x0.shape[1] in (1, 3)
    return x0[0].detach() if is_image else None


def caption(origin: dict[str, Any]) -> str:
    """The provenance of a figure's numbers in one line.

    Model, the first digits of the hashes of its weights and of the image, policy, dtype, what was linearised,
    and the error of the identity.
    """
    hashes = [f"{n} {origin[k][:6]}" for k, n in (("weights", "weights"), ("image", "x0")) if k in origin]
    said = [str(origin["model"])] if "model" in origin else []
    said += [*hashes, f"policy {origin['policy']}"] if "policy" in origin else hashes
    said += [str(origin["dtype"])] if "dtype" in origin else []
    said += [f"linearised {' and '.join(origin['linearised'])}"] if origin.get("linearised") else []
    return ", ".join(said + ([f"F x0 + r = y0 to {origin['error']:.0e}"] if "error" in origin else []))


def of_operator(F: Any) -> dict[str, Any]:
    """Provenance of any operator: its shape and dtype, and the versions."""
    return {
        "operator": repr(F),
        "shape": list(F.shape),
        "dtype": str(F.dtype).removeprefix("torch."),
        "fxscope": __version__,
        "torch": torch.__version__,
        KEY: VERSION,
    }
