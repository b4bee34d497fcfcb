"""Fourier transforms, and complex numbers as pairs of real ones: linear.

The transpose is the one of the real inner product, Re sum conj(a) b: for a complex matrix, its conjugate
transpose.
"""

import torch
import torch.nn.functional as F

from ..graph.ir import notes
from ..twins.applied import Applied
from ._ranks import shift
from .declare import Sample, composite, linear

_ATEN = torch.ops.aten


def _behind(dims):
    return [d + 1 if d >= 0 else d for d in dims]


def c2c(k, x, dim, normalization, forward):
    return torch.ops.aten._fft_c2c(x, dim, normalization, forward)


def c2c_back(k, y, x, dim, normalization, forward):
    return torch.ops.aten._fft_c2c(y, dim, normalization, not forward)


def r2c(k, x, dim, normalization, onesided):
    return torch.ops.aten._fft_r2c(x, dim, normalization, onesided)


def r2c_back(k, y, x, dim, normalization, onesided):
    last = dim[-1]
    if onesided:  # the other half of the spectrum is not in the output
        n = x.size(last - 1 if last >= 0 else last + x.ndim)
        rest = (x.ndim + 1 - last if last >= 0 else -last) - 1
        y = F.pad(y, [0, 0] * rest + [0, n - (n // 2 + 1)])
    return torch.real(torch.ops.aten._fft_c2c(y, dim, normalization, False))


def c2r(k, x, dim, normalization, size):
    return torch.ops.aten._fft_c2r(x, dim, normalization, size)


def c2r_back(k, y, x, dim, normalization, size):
    """Frequencies of which only one of a conjugate pair is in the input count twice."""
    found = torch.ops.aten._fft_r2c(y, dim, normalization, True)
    last, pairs = dim[-1], (size - 1) // 2
    twice = torch.narrow(found, last, 1, pairs)
    return torch.slice_scatter(found, twice * 2, last, 1, 1 + pairs)


def fft_c2c(x, dim, normalization, forward):
    return Applied(c2c, c2c_back, (), (_behind(dim), normalization, forward))


def fft_r2c(x, dim, normalization, onesided):
    return Applied(r2c, r2c_back, (), (_behind(dim), normalization, onesided))


def fft_c2r(x, dim, normalization, last_dim_size):
    return Applied(c2r, c2r_back, (), (_behind(dim), normalization, last_dim_size))


def _pair(function, back):
    return lambda k, x: function(x), lambda k, y, x: back(y)


_AS_REAL = _pair(torch.view_as_real, lambda y: torch.view_as_complex(y.contiguous()))
_AS_COMPLEX = _pair(torch.view_as_complex, torch.view_as_real)
_CONJUGATE = _pair(torch.conj_physical, torch.conj_physical)


def _real_back(k, y, x):
    return torch.complex(y, torch.zeros_like(y))


def _imag_back(k, y, x):
    return torch.complex(torch.zeros_like(y), y)


def complex_of(real, imag):
    # which broadcast
    pair = [real + torch.zeros_like(imag), imag + torch.zeros_like(real)]
    return torch.view_as_complex(torch.stack(pair, -1))


def polar(abs, angle):
    return complex_of(abs * torch.cos(angle), abs * torch.sin(angle))


def as_real(x):
    return Applied(*_AS_REAL)


def as_complex(x):
    return Applied(*_AS_COMPLEX)


def conjugate(x):
    return Applied(*_CONJUGATE)


def real(x, *, call):
    return Applied(lambda k, x: torch.real(x), _real_back) if _is_complex(call.arguments["x"]) else None


def imag(x):
    return Applied(lambda k, x: torch.imag(x), _imag_back)


_MAKE_COMPLEX = ("view_as_complex", "complex", "polar", "_fft_c2c", "_fft_r2c")
_MAKE_REAL = ("view_as_real", "real", "imag", "abs", "angle", "_fft_c2r")


def _is_complex(node):
    """Whether a value is complex, as an example or the operators before it tell; raises ``TypeError``."""
    found = _complexity(node, {})
    if found is None:
        raise TypeError("whether x is complex is told by example_inputs alone")
    return found


def _complexity(node, known):
    if node not in known:
        known[node] = _complexity_of(node, known)
    return known[node]


def _complexity_of(node, known):
    value = notes(node).get("val")
    if value is not None:
        return value.is_complex()
    name = getattr(node.target, "__name__", str(node.target)).partition(".")[0]
    if name in _MAKE_COMPLEX or name in _MAKE_REAL:
        return name in _MAKE_COMPLEX
    found = [_complexity(n, known) for n in node.all_input_nodes] or [None]
    if True in found:
        return True
    return None if None in found else False


_SOURCE = "the paper, eq. 7 (the real inner product)"


def _spectrum(f, x, **given):
    return torch.view_as_real(f(x, **given))


def _complex(function):
    def call(f, x, **given):
        return function(f, torch.view_as_complex(x), **given)

    return call


def _rule(name, target, twin, samples, formula, **fields):
    return linear(name, target, twin, samples=samples, formula=formula, source=_SOURCE, **fields)


_DIMS = {"dim": [1], "normalization": 0}
FFT_C2C = _rule(
    "fft_c2c",
    _ATEN._fft_c2c,
    fft_c2c,
    (
        Sample((2, 4, 5, 2), {**_DIMS, "forward": True}, call=_complex(_spectrum)),
        Sample((2, 4, 5, 2), {"dim": [1, 2], "normalization": 2, "forward": False}, call=_complex(_spectrum)),
    ),
    "y1 = the discrete Fourier transform of x1",
    functions=(_ATEN._fft_c2c.default,),
)
FFT_R2C = _rule(
    "fft_r2c",
    _ATEN._fft_r2c,
    fft_r2c,
    (
        Sample((2, 4, 5), {**_DIMS, "onesided": True}, call=_spectrum),
        Sample((2, 4, 5), {"dim": [1, 2], "normalization": 1, "onesided": True}, call=_spectrum),
        Sample((2, 4, 5), {"dim": [2], "normalization": 2, "onesided": False}, call=_spectrum),
    ),
    "y1 = the discrete Fourier transform of x1",
    functions=(_ATEN._fft_r2c.default,),
)
FFT_C2R = _rule(
    "fft_c2r",
    _ATEN._fft_c2r,
    fft_c2r,
    (
        Sample(
            (2, 3, 4, 2),
            {"dim": [2], "normalization": 0, "last_dim_size": 6},
            call=_complex(lambda f, x, **g: f(x, **g)),
        ),
        Sample(
            (2, 3, 4, 2),
            {"dim": [1, 2], "normalization": 2, "last_dim_size": 7},
            call=_complex(lambda f, x, **g: f(x, **g)),
        ),
    ),
    "y1 = the inverse transform of half a spectrum x1",
    functions=(_ATEN._fft_c2r.default,),
)
VIEW_AS_REAL = _rule(
    "view_as_real",
    torch.view_as_real,
    as_real,
    (Sample((2, 3, 4, 2), call=lambda f, x: f(torch.view_as_complex(x) * 2.0)),),
    "y1 = real and imaginary part of x1",
    functions=(_ATEN.view_as_real.default,),
    rank=lambda rank, a: shift(rank(a["x"]), 1),
)
VIEW_AS_COMPLEX = _rule(
    "view_as_complex",
    torch.view_as_complex,
    as_complex,
    (Sample((2, 3, 4, 2), call=lambda f, x: torch.view_as_real(f(x))),),
    "y1 = complex numbers with the parts x1",
    functions=(_ATEN.view_as_complex.default,),
    rank=lambda rank, a: shift(rank(a["x"]), -1),
)
CONJUGATE = _rule(
    "conj_physical",
    torch.conj_physical,
    conjugate,
    (
        Sample(),
        Sample((2, 3, 4, 2), call=_complex(_spectrum), spellings=("conj_physical", "conj_physical.default")),
    ),
    "y1 = the conjugate of x1",
    functions=(torch.conj, _ATEN.conj_physical.default, _ATEN._conj_physical.default, _ATEN._conj.default),
    methods=("conj", "conj_physical"),
)
REAL = _rule(
    "real",
    torch.real,
    real,
    (Sample((2, 3, 4, 2), call=_complex(lambda f, x: f(x))),),
    "y1 = the real part of x1",
    functions=(_ATEN.real.default,),
)
IMAG = _rule(
    "imag",
    torch.imag,
    imag,
    (Sample((2, 3, 4, 2), call=_complex(lambda f, x: f(x))),),
    "y1 = the imaginary part of x1",
    functions=(_ATEN.imag.default,),
)


def _parts(f, x):
    return torch.view_as_real(f(x, x * 0.5))


COMPLEX = composite(
    "complex",
    torch.complex,
    complex_of,
    "",
    functions=(_ATEN.complex.default,),
    carries=("real", "imag"),
    samples=(Sample(call=_parts),),
    formula="y1 = complex numbers with these parts",
    source=_SOURCE,
)
POLAR = composite(
    "polar",
    torch.polar,
    polar,
    "a product and a cosine for one operator",
    functions=(_ATEN.polar.default,),
    carries=("abs", "angle"),
    samples=(Sample(call=_parts),),
    formula="|z| (cos w + i sin w)",
    source=_SOURCE,
)
