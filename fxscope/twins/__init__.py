"""The small table of linear operators that may stand in the interpreter branch."""

from .arrange import Add, Concat, Constant, Dims, Expand, Identity, Index, Item, Negate, Offset, Repeat, Reshape, Stack, shifted
from .base import Back, Like, Probes, Twin, nodes_of, state
from .dims import join
from .frozen import Average, Choose, Divide, Gate, Gather, Mask, Normalize, Pick, Select, Slope, TangentProduct, Unpool, Window
from .linear import BatchNorm, Conv, Dense, Einsum, MatmulLeft, MatmulRight, Pad, Rearrange, Resample, Sample

__all__ = [
    "Add", "Average", "Back", "BatchNorm", "Choose", "Concat", "Constant", "Conv", "Dense", "Dims", "Divide", "Einsum", "Expand", "Gate", "Gather",
    "Identity", "Index", "Item", "Like", "Mask", "MatmulLeft", "MatmulRight", "Negate", "Normalize", "Offset", "Pad", "Pick", "Probes", "Rearrange",
    "Repeat", "Resample", "Reshape", "Sample", "Select", "Slope", "Stack", "TangentProduct", "Twin", "Unpool", "Window", "nodes_of", "join", "shifted", "state",
]
