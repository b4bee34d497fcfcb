"""
Eigen-inputs of an upscaler
===========================

What passes through a network at an image, and how much: the singular triplets F v = s u of a trained
upscaler, beside bicubic interpolation. The paper finds eigen-inputs "spatially localized, oriented and
bandpass"; here each of the three words is a number. (The network is ``fxscope:pixelshuffle4x``, which was
trained on 10 photographs; the image is none of them.)
"""

import fxscope
from fxscope import models
from fxscope.images import photos

low = photos.downscale(photos.luminance(photos.shipped("chelsea"))[:, 80:176, 130:226], 4)[None]
lin = fxscope.interpret(models.pixelshuffle4x(), low)
found = {
    "network": lin.F.svd(6, tol=1e-3, progress=False),
    "bicubic": (
        fxscope.interpret(models.bicubic4x(), low).F.svd(6, "dense", progress=False)
    ),  # its values crowd below 4: all of F at once
}
for name, triplets in found.items():
    print(
        f"{name}: s = {triplets.s[0]:.3f} ... {triplets.s[-1]:.3f}, largest error"
        f" {float((triplets.errors / triplets.s).max()):.0e} s, {triplets.method}"
    )

# %%
# The network's lie on a few pixels where the photograph has detail, at the upper end of the input's band.

network = found["network"].plot(text="4-layer PixelShuffle network, x4")

# %%

photograph = fxscope.plot.images({"x0": low[0], "y0": lin.y0[0]})

# %%
# Bicubic's are waves over the whole image, the slowest first: what it passes best is what hardly changes.

bicubic = found["bicubic"].plot(text="bicubic interpolation, x4")

# %%
# Localised: participation, the share of the picture that the energy covers (4/9 for a product of two waves).
# Oriented: 0 where no direction of the wave vector is preferred, 1 where one is. Bandpass: nothing at
# frequency 0, and a mean frequency below Nyquist's 0.5. So the eigen-inputs are localised, hardly oriented
# and rather highpass; oriented and bandpass are the eigen-outputs that they turn into.

for name, triplets in found.items():
    for letter in ("v", "u"):
        shapes = triplets.shapes(letter)
        area, direction, band, zero = (
            sum(getattr(s, n) for s in shapes) / len(shapes)
            for n in ("participation", "orientedness", "frequency", "dc")
        )
        print(
            f"{name} {letter}: area {100 * area:4.1f}%, orientedness {direction:.2f}, {band:.3f} cycles a"
            f" pixel, {100 * zero:.2f}% at frequency 0"
        )
figure = fxscope.plot.shapes(
    {name: triplets.shapes() for name, triplets in found.items()}, text="the six largest eigen-inputs"
)
