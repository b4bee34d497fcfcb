"""
"Explain this output", served from one ONNX file
================================================

``emit="row"`` is a graph (x0, index) -> (y0, row, r): the prediction, how the chosen output reads the
image, and what the biases add. It has no autograd call in it, so it exports; onnxruntime serves it without
torch. The network is ``fxscope:pixelshuffle4x``, trained on 10 photographs, of which this is none.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import fxscope
from fxscope import models
from fxscope.images import photos

model = models.pixelshuffle4x()
low = photos.downscale(photos.luminance(photos.shipped("chelsea"))[:, 40:168, 100:228], 4)[None]

# %%
# Write the file once.

path = Path(tempfile.mkdtemp()) / "explain.onnx"
explain = fxscope.transform(model, emit="row", probes="stacked")
place = (64, 60)
index = torch.tensor([[place[0] * 128 + place[1]]])  # (K, B): place of the flattened output
check = fxscope.save(explain, path, (low, index))
print(f"largest relative error {max(check.errors):.1e}")

# %%
# Serve it: numpy in, numpy out.

session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
names = [i.name for i in session.get_inputs()]
y0, row, r = session.run(None, dict(zip(names, [low.numpy(), index.numpy()])))
print(float(np.sum(row * low.numpy()) + r.sum()), "=", float(y0[0, 0, place[0], place[1]]))

# %%

figure = fxscope.plot.row(
    torch.from_numpy(row).reshape(1, *low.shape[-2:]),
    place=(place[0] // 4, place[1] // 4),
    text="from explain.onnx, by onnxruntime",
)
