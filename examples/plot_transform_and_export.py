"""
Transform, look, export
=======================

The rewritten graph is a plain ``torch.fx.GraphModule``: it can be drawn, saved as ``.pt2``, and run where
fxscope is not installed. The network is ``fxscope:pixelshuffle4x``, a trained upscaler.
"""

import tempfile
from pathlib import Path

import torch

import fxscope
from fxscope import models

model = models.pixelshuffle4x()
scope = fxscope.transform(model, probes="stacked")  # (x0, x1) -> (y0, y1), x1 of (K, B, 1, H, W)

# %%
# Saved, loaded in a fresh process that cannot import fxscope, and compared, before ``save`` returns.

x0 = torch.rand(1, 1, 24, 24)
path = Path(tempfile.mkdtemp()) / "scope.pt2"
check = fxscope.save(scope, path, (x0, x0[None]))
print(f"{check.format}: largest relative error {max(check.errors):.1e}")

# %%
# The loader needs torch alone; the number of probes and of images is free in the file.

y0, y1 = torch.export.load(path).module()(torch.rand(2, 1, 24, 24), torch.rand(7, 2, 1, 24, 24))
print(tuple(y0.shape), tuple(y1.shape))

# %%
# The graph that was saved. Dashed edges carry what each ReLU decided.

fxscope.draw(scope)
