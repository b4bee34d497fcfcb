"""``SVD``: singular triplets with their true errors, as a frozen record that shows, saves and loads itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...errors import FxscopeError
from ...graph.interpretation import KEY, of
from ...results.records import plain, read, write
from ...results.registry import Drawn
from .shapes import Shape, shapes_of

_TENSORS = ("v", "u", "s", "forward_errors", "adjoint_errors", "converged")
_PLAIN = ("orthogonality", "passes", "seconds", "method", "tol", "seed", "info", "origin")


@dataclass(frozen=True)
class SVD(Drawn):
    """The k largest triplets of F: F v = s u and F^T u = s v, up to the errors that stand with each.

    s   (k,), descending; in double precision where F's own does not hold them;   v   eigen-inputs, (k, *inputs);   u   eigen-outputs, (k, *outputs)
    forward_errors, adjoint_errors   |F v - s u| and |F^T u - s v|, (k,), in double precision
    orthogonality   the largest entry of |V V^T - 1| and |U U^T - 1|
    converged   (k,): both errors are at most tol s (64 eps of the largest value count as nothing)
    passes   products with F or F^T, one vector each;   seconds   of the whole call
    upper   values that the true ones do not exceed with probability 1 - risk (method "randomized"), or None
    info    what the method says of itself;   origin   of F: model, hashes of weights and image, policy, versions
    """

    s: torch.Tensor
    v: Any
    u: Any
    forward_errors: torch.Tensor
    adjoint_errors: torch.Tensor
    orthogonality: float
    converged: torch.Tensor
    passes: int
    seconds: float
    method: str
    tol: float
    seed: int
    info: dict[str, Any]
    origin: dict[str, Any]
    upper: torch.Tensor | None = None
    rest: dict[str, torch.Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.s)

    @property
    def interpretation(self) -> int:
        """The version of the interpretation that these are of."""
        return of(self.origin)

    @property
    def errors(self) -> torch.Tensor:
        """The larger error of each triplet, (k,)."""
        return torch.maximum(self.forward_errors, self.adjoint_errors)

    def shapes(self, which: str = "v") -> list[Shape]:
        """How localised, oriented and bandpass every eigen-input ("v") or eigen-output ("u") is, in numbers."""
        if which not in ("v", "u"):
            raise FxscopeError(f'shapes are those of "v" or "u", got {which!r}')
        return shapes_of(getattr(self, which))

    def numbers(self) -> dict[str, Any]:
        """Everything but the vectors, as plain numbers."""
        return plain(
            {
                n: getattr(self, n)
                for n in ("s", "forward_errors", "adjoint_errors", "converged", "upper", KEY, *_PLAIN)
            }
        )

    def to_json(self) -> str:
        return json.dumps(self.numbers(), indent=2)

    def save(self, path: str | Path) -> Path:
        """Everything into one .safetensors file; what is not a tensor is JSON in its header."""
        tensors = {n: getattr(self, n) for n in (*_TENSORS, "upper")} | {"rest": self.rest or None}
        return write(path, "svd", {n: getattr(self, n) for n in _PLAIN}, tensors)

    @classmethod
    def load(cls, path: str | Path, device: Any = "cpu") -> SVD:
        """What ``save`` wrote; raises ``FxscopeError`` where the file is something else."""
        header, tensors = read(path, "svd", "singular value decomposition", device)
        return cls(**header, **tensors)

    def __repr__(self) -> str:
        count = int(self.converged.sum())
        first = ", ".join(f"{s:.4g}" for s in self.s[:4].tolist()) + (", ..." if len(self) > 4 else "")
        return (
            f"SVD({len(self)} triplets, s = {first}; {count} converged to {self.tol:g}; {self.method},"
            f" {self.passes} passes, {self.seconds:.2f} s)"
        )

    def _repr_html_(self) -> str:
        rows = zip(
            self.s.tolist(),
            self.forward_errors.tolist(),
            self.adjoint_errors.tolist(),
            self.converged.tolist(),
        )
        body = "".join(
            f"<tr><td>{i}</td><td>{s:.6g}</td><td>{a:.1e}</td><td>{b:.1e}</td><td>{'yes' if c else 'no'}</td></tr>"
            for i, (s, a, b, c) in enumerate(rows)
        )
        head = "<tr><th></th><th>s</th><th>|F v - s u|</th><th>|F^T u - s v|</th><th>converged</th></tr>"
        return (
            f"<table><caption>{self.method}, {self.passes} passes, {self.seconds:.2f} s, orthogonal to"
            f" {self.orthogonality:.1e}</caption>{head}{body}</table>"
        )
