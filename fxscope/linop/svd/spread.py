"""Vectors that lie in one process, or spread over several, each of which has a part of every vector.

The Lanczos method needs inner products, norms and a small decomposition of its vectors. Spread over
processes, each of them computes these of its parts, and only the sums are exchanged.
"""

from __future__ import annotations

import math

import torch
import torch.distributed as dist

from ..scale import norm_of, norms


class Alone:
    """One process, which has all of every vector."""

    is_spread = False

    def inner(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Inner products of rows, (J, n) and (K, n) -> (J, K)."""
        return a @ b.T

    def norms(self, rows: torch.Tensor) -> torch.Tensor:
        """Norms of rows, (K, n) -> (K,)."""
        return norms(rows)

    def norm(self, tensor: torch.Tensor) -> float:
        """The norm of all of a tensor."""
        return norm_of([tensor])

    def every(self, is_so: bool) -> bool:
        """Whether something is so in every process."""
        return is_so

    def largest(self, value: float) -> float:
        """The largest value of all processes."""
        return value

    def noise(self, count: int, size: int, generator: torch.Generator, of_inputs: bool) -> torch.Tensor:
        """Standard normal vectors of the inputs or of the outputs, of which this process has a part."""
        return torch.randn(count, size, generator=generator, dtype=torch.float64)

    def decomposed(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """U, s, V^T of a few rows (K, n), in double precision."""
        return torch.linalg.svd(rows.double(), full_matrices=False)


ALONE = Alone()


class Spread(Alone):
    """Several processes of a group of torch.distributed (gloo, nccl).

    Sums are the same numbers in every process, so that all take the same steps.
    """

    is_spread = True

    def __init__(self, device: torch.device):
        self.rank, self.count, self.device = dist.get_rank(), dist.get_world_size(), device

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in their order."""
        return torch.stack(self.gathered(values)).sum(0)

    def gathered(self, values: torch.Tensor) -> list[torch.Tensor]:
        """The values of all processes; they are of one shape."""
        mine = values.contiguous()
        each = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(each, mine)
        return each

    def inner(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Inner products of rows, (J, n) and (K, n) -> (J, K)."""
        return self.total(a @ b.T)

    def norms(self, rows: torch.Tensor) -> torch.Tensor:
        """Norms of rows, (K, n) -> (K,)."""
        return norms(torch.stack(self.gathered(norms(rows))).T)

    def norm(self, tensor: torch.Tensor) -> float:
        """The norm of all of a tensor."""
        return float(self.norms(tensor.reshape(1, -1))[0])

    def every(self, is_so: bool) -> bool:
        """Whether something is so in every process."""
        return self.largest(float(not is_so)) == 0

    def largest(self, value: float) -> float:
        """The largest value of all processes."""
        mine = torch.tensor([value], dtype=torch.float64, device=self.device)
        found = [float(v) for v in self.gathered(mine)]
        return math.nan if any(map(math.isnan, found)) else max(found)

    def decomposed(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """U, s, V^T of a few rows (K, n), in double precision, by a QR decomposition of each part.

        Source: Demmel, Grigori, Hoemmen, Langou, SIAM J. Sci. Comput. 34 (2012).
        """
        k = rows.shape[0]
        own, upper = torch.linalg.qr(rows.double().T)  # (n, m) and (m, K), m <= K
        padded = upper.new_zeros(k, k)
        padded[: upper.shape[0]] = upper
        joint, small = torch.linalg.qr(torch.cat(self.gathered(padded)))
        right, s, left = torch.linalg.svd(small, full_matrices=False)
        mine = joint[self.rank * k : self.rank * k + upper.shape[0]]
        return left.T.contiguous(), s, (own @ mine @ right).T.contiguous()
