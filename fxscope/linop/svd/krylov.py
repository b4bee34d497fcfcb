"""A Krylov basis V of F^T F that grows by rows, with A = F V and the matrix H for the Ritz values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .rows import Rows, ShortSide

DEFLATED = 32  # a remainder of a vector below DEFLATED * eps is rounding


class Basis:
    """Orthonormal rows V of the smaller side; the first ``done`` are multiplied, the others are waiting.

    ::

        A = F V[:done],      F^T A = V^T H       (rows are vectors; H is (total, done))

    Only V is orthogonalised, against all rows and twice. A holds the products of the network as they are, so
    that F v = A y for any v = V y without a further pass. With one row waiting this is Golub-Kahan-Lanczos
    with one-sided reorthogonalisation; with several it is the block form.

    References
    ----------
    Simon & Zha, SIAM J. Sci. Comput. 21 (2000), on one-sided reorthogonalisation.
    Aliaga, Boley, Freund, Hernandez, Math. Comp. 69 (2000), on blocks that shrink.
    """

    def __init__(self, rows: Rows, capacity: int, generator: torch.Generator):
        self.short, self.generator, self.spread = ShortSide(rows), generator, rows.spread
        self.capacity = min(capacity, self.short.small)
        self.V = rows.zeros(0, self.short.here)
        self.A = rows.zeros(0, self.short.there)
        self.H = np.zeros((self.capacity, self.capacity))
        self.done = self.total = 0
        self.scale = 0.0  # the largest |F^T F v| seen: rounding is measured against it

    @property
    def waiting(self) -> int:
        """Number of rows that are not multiplied yet."""
        return self.total - self.done

    def room(self, block: int) -> bool:
        """Whether one more step fits without a restart."""
        new = min(block, self.waiting or 1)
        return self.total + new <= self.capacity or self.capacity == self.short.small

    def append(self, vectors: torch.Tensor, threshold: float) -> np.ndarray:
        """Add the parts of vectors (b, small) outside the basis as rows; return coefficients (total, b)."""
        b, inside = vectors.shape[0], self._project(vectors)
        left = vectors - inside.T @ self.V[: self.total]
        again = self._project(left)
        left = left - again.T @ self.V[: self.total]
        found = np.zeros((self.total + b, b))
        found[: self.total] = (inside + again).double().cpu().numpy()
        added = 0
        for i in range(b):
            row = left[i : i + 1]
            for _ in range(2 if added else 0):  # orthogonalise against the rows that this block has added
                new = self.V[self.total : self.total + added]
                within = self.spread.inner(new, row)
                row = row - within.T @ new
                found[self.total : self.total + added, i] += within[:, 0].double().cpu().numpy()
            size = self.spread.norm(row)
            if size <= threshold or self.total + added == self.short.small:
                continue
            row = row / size
            if size < 1e-3 * self.spread.norm(vectors[i]):
                row = self._orthogonal(row, self.total + added)
            self._put(self.total + added, row)
            found[self.total + added, i] = size
            added += 1
        self.total += added
        if self.total > len(self.H):
            self.H = np.pad(self.H, (0, self.total - len(self.H)))
        return found[: self.total]

    def _orthogonal(self, row: torch.Tensor, count: int) -> torch.Tensor:
        """Orthogonalise a row that has lost digits by cancellation against the first ``count`` rows again."""
        for _ in range(2):
            row = row - self.spread.inner(row, self.V[:count]) @ self.V[:count]
            row = row / self.spread.norm(row)
        return row

    def _put(self, place: int, row: torch.Tensor) -> None:
        if place >= self.V.shape[0]:  # grows by half; the final size is not known
            more = max(16, place // 2)
            self.V = torch.cat([self.V, self.V.new_empty(more, self.V.shape[1])])
        self.V[place] = row[0]

    def _project(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.spread.inner(self.V[: self.total], vectors)

    def refill(self, count: int = 1) -> None:
        """Add random rows outside the basis; a vector that lies in the basis by chance is drawn again."""
        wanted = min(self.total + count, self.short.small)
        while self.total < wanted:
            vector = self.short.noise(self.generator)
            self.append(vector / self.spread.norm(vector), 1e-3 / self.short.small)

    def arrange(self, order: np.ndarray) -> None:
        """Reorder the waiting rows; the first are multiplied next."""
        order = self.done + np.asarray(order)
        self.V[self.done : self.total] = self.V[torch.as_tensor(order, device=self.V.device)]
        self.H[self.done : self.total] = self.H[order]

    def mix(self, count: int) -> None:
        """Rotate the last ``count`` waiting rows by 45 degrees with as many rows before them.

        Each last row is then the normalised sum of two rows, so its chain continues both.
        """
        new, old = slice(self.total - count, self.total), slice(self.total - 2 * count, self.total - count)
        rows: Any
        for rows in (self.V, self.H):
            rows[new], rows[old] = (rows[old] + rows[new]) / 2**0.5, (rows[old] - rows[new]) / 2**0.5

    def grow(self, block: int) -> None:
        """Multiply up to ``block`` waiting rows with F and F^T, two passes a row."""
        if not self.waiting:
            self.refill()
        whole = self.total == self.short.small
        count = self.waiting if whole else min(block, self.waiting)
        new = self.short.forward(self.V[self.done : self.done + count])
        self._keep(new)
        if whole:
            self._close(count)
            return
        back = self.short.adjoint(new)
        self.scale = max(self.scale, float(self.spread.norms(back).max()))
        found = self.append(back, DEFLATED * self.short.rows.epsilon * self.scale)
        self.H[: self.total, self.done : self.done + count] = found
        self.done += count

    def _keep(self, new: torch.Tensor) -> None:
        need = self.done + new.shape[0]
        if need > self.A.shape[0]:
            self.A = torch.cat(
                [
                    self.A[: self.done],
                    self.A.new_empty(max(need - self.done, 16, self.done // 2), self.A.shape[1]),
                ]
            )
        self.A[self.done : need] = new

    def _close(self, count: int) -> None:
        """Finish a basis that spans the whole space: H is <F v_i, F v_j>, and F^T needs no further pass."""
        end = self.done + count
        inner = self.spread.inner(self.A[:end], self.A[self.done : end])
        self.H[:end, self.done : end] = inner.double().cpu().numpy()
        self.H[self.done : end, : self.done] = self.H[: self.done, self.done : end].T
        self.done = end

    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of F^T F on the span, largest first, and their coefficient vectors as columns."""
        H = self.H[: self.done, : self.done]
        # by torch: the threads of numpy's LAPACK keep spinning on a core that the next pass needs
        values, vectors = (t.numpy() for t in torch.linalg.eigh(torch.from_numpy((H + H.T) / 2)))
        return np.maximum(values[::-1], 0), vectors[:, ::-1]

    def left(self, Y: np.ndarray) -> np.ndarray:
        """Coefficients of F^T F v - theta v on the waiting rows, for v = V y, (waiting, columns of Y)."""
        return self.H[self.done : self.total, : self.done] @ Y

    def resume(
        self, small: torch.Tensor, images: torch.Tensor, s: torch.Tensor, rest: dict[str, torch.Tensor]
    ) -> None:
        """Begin from known triplets, F small = images; without ``rest``, F^T is applied to them again."""
        k = len(s)
        self.append(small, 0.0)
        self.scale = float(s.max()) ** 2
        self._keep(images)
        if rest and self.total == k:
            self.append(rest["waiting"].to(small), 0.0)
            self.H[k : self.total, :k] = self.scale * rest["border"][: self.total - k].double().cpu().numpy()
            self.H[:k, :k] = np.diag(s.double().cpu().numpy() ** 2)
        else:
            found = self.append(self.short.adjoint(images), DEFLATED * self.short.rows.epsilon * self.scale)
            self.H[: self.total, :k] = found
        self.done = k

    def restart(self, keep: int) -> None:
        """Thick restart: keep the ``keep`` best vectors and the waiting rows.

        Source: Wu & Simon, SIAM J. Matrix Anal. 22 (2000); Baglama & Reichel, SIAM J. Sci. Comput. 27 (2005).
        """
        values, Y = self.ritz()
        Y, border = Y[:, :keep], self.left(Y[:, :keep])
        rotate = torch.as_tensor(Y.T.copy()).to(self.V)
        waiting = self.waiting
        self.V[: keep + waiting] = torch.cat([rotate @ self.V[: self.done], self.V[self.done : self.total]])
        self.A[:keep] = rotate @ self.A[: self.done]
        self.H[:] = 0
        self.H[:keep, :keep] = np.diag(values[:keep])
        self.H[keep : keep + waiting, :keep] = border
        self.done, self.total = keep, keep + waiting
