"""Singular values and vectors of F from products alone, norms, trace, spectrum, and shapes of vectors."""

from .result import SVD
from .shapes import Shape
from .solve import METHODS, svd
from .spectrum import Estimate, Spectrum, norm, spectrum, trace

__all__ = ["METHODS", "SVD", "Estimate", "Shape", "Spectrum", "norm", "spectrum", "svd", "trace"]
