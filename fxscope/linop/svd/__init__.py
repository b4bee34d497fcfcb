"""The singular value decomposition of F, without its matrix; norms, trace, the whole spectrum; the shapes of singular vectors."""

from .result import SVD
from .shapes import Shape
from .solve import METHODS, svd
from .spectrum import Estimate, Spectrum, norm, spectrum, trace

__all__ = ["METHODS", "SVD", "Estimate", "Shape", "Spectrum", "norm", "spectrum", "svd", "trace"]
