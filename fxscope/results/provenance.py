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


def caption(origin: dict[str, Any]) -> str:
    """The provenance of a figure's numbers in one line.

    Model, the first digits of the hashes of its weights and of the image, policy, dtype, what was linearised,
    and the error of the identity.
    """
    hashes = [f"{n} {origin[n][:6]}" for n in ("weights", "image") if n in origin]
    said = [str(origin[n]) for n in ("model", "policy", "dtype") if n in origin]
    said[1:1] = hashes
    said += [f"linearised {' and '.join(origin['linearised'])}"] if origin.get("linearised") else []
    return ", ".join(said + ([f"verified to {origin['error']:.0e}"] if "error" in origin else []))


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
