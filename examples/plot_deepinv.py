"""
F as deepinv physics
====================

deepinv writes forward models as ``LinearPhysics`` with ``A`` and ``A_adjoint``. A frozen network is one:
its interpreter can stand in for a camera, and its adjoint is exact. Here of ``fxscope:pixelshuffle4x``, an
upscaler that was trained on 10 photographs, of which this is none.
"""

import torch
from deepinv.physics import LinearPhysics

import fxscope
from fxscope import models
from fxscope.images import photos

low = photos.downscale(photos.luminance(photos.shipped("coffee"))[:, 100:196, 200:296], 4)[None].double()
lin = fxscope.interpret(models.pixelshuffle4x().double(), low)


class FrozenNetwork(LinearPhysics):
    """A x = F(x0) x for batches of images: leading dimensions are probes of one x0."""

    def __init__(self, lin):
        super().__init__()
        self.lin = lin

    def A(self, x, **kwargs):
        return self.lin.F @ x

    def A_adjoint(self, y, **kwargs):
        return self.lin.F.T @ y


physics = FrozenNetwork(lin)
print(
    f"adjointness {float(physics.adjointness_test(low)):.1e}, norm"
    f" {float(physics.compute_norm(torch.rand_like(low))):.3f}"
)

# %%
# Its pseudo-inverse, by conjugate gradients of deepinv's own.

found = physics.A_dagger(lin.y0 - lin.residual)
print(f"relative error {float((found - low).norm() / low.norm()):.1e}")
figure = fxscope.plot.images({"x0": low[0], "F x0": (lin.y0 - lin.residual)[0], "A_dagger F x0": found[0]})
