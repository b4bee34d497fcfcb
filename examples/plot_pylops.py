"""
F as a PyLops operator
======================

PyLops has solvers, regularisers and algebra for linear operators that are known by their action. F is one:
``lin.F.to_scipy()`` is all it takes. Here the frozen upscaler is inverted: which small image gives this
large one? It is ``fxscope:pixelshuffle4x``, trained on 10 photographs, of which this is none.
"""

import numpy as np
import pylops
import torch

import fxscope
from fxscope import models
from fxscope.images import photos

low = photos.downscale(photos.luminance(photos.shipped("chelsea"))[:, 60:156, 120:216], 4)[None].double()
lin = fxscope.interpret(models.pixelshuffle4x().double(), low)
F = pylops.LinearOperator(Op=lin.F.to_scipy())
print(F.shape, "dot test:", pylops.utils.dottest(F, *F.shape, rtol=1e-9))

# %%
# Least squares with a smoothness prior: F x = y0 - r.

b = (lin.y0 - lin.residual).flatten().numpy()
smooth = pylops.Laplacian(low.shape[-2:], dtype="float64")
x = pylops.optimization.leastsquares.regularized_inversion(
    F, b, [smooth], epsRs=[1e-3], iter_lim=60, damp=1e-6, show=0
)[0]
found = torch.from_numpy(np.ascontiguousarray(x)).view_as(low)
print(f"relative error {float((found - low).norm() / low.norm()):.1e}")

# %%

figure = fxscope.plot.images({"x0": low[0], "F x0 + r": lin.y0[0], "inverted": found[0]})
