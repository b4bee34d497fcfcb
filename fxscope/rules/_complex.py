"""Whether values are complex: as example inputs showed, or as the operators before them tell."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx as fx

from ..graph.ir import notes

_PLAIN, _HALF = ("fft", "fft2", "fftn"), ("hfft", "hfft2", "hfftn")
_MAKE_COMPLEX = (
    "view_as_complex",
    "complex",
    "polar",
    "_fft_c2c",
    "_fft_r2c",
    *(f"fft_{kind}{name}" for kind in ("", "i", "r") for name in _PLAIN),
    *(f"fft_i{name}" for name in _HALF),
)
_MAKE_REAL = (
    "view_as_real",
    "real",
    "imag",
    "abs",
    "hypot",
    "angle",
    "atan2",
    "istft",
    "_fft_c2r",
    *(f"fft_ir{name}" for name in _PLAIN),
    *(f"fft_{name}" for name in _HALF),
)


def complexity(value: Any) -> bool | None:
    """Whether a value is complex; None where neither an example nor its operators tell."""
    value = value.node if isinstance(value, fx.Proxy) else value
    if not isinstance(value, fx.Node):
        return isinstance(value, complex)
    shown = notes(value).get("val")
    return _walked(value.graph)[value] if shown is None else bool(shown.is_complex())


def parts(x: Any) -> tuple[Any, Any]:
    """Real and imaginary part."""
    return torch.real(x), torch.imag(x)


def direction(x: Any) -> Any:
    """z/|z|, 0 at 0; None of real numbers."""
    if not complexity(x):
        return None
    size = torch.abs(x)
    return x / torch.where(size == 0, torch.ones_like(size), size)


def complex_values(graph: fx.Graph) -> set[fx.Node]:
    """The nodes of a graph whose values are known to be complex."""
    return {node for node, found in _walked(graph).items() if found}


def _walked(graph: fx.Graph) -> dict[fx.Node, bool | None]:
    known: dict[fx.Node, bool | None] = {}
    for node in graph.nodes:
        known[node] = _told(node, known)
    return known


def need_complexity(x: Any) -> bool:
    """The same for an argument of a rule; raises ``TypeError`` where nothing tells it."""
    found = complexity(x)
    if found is None:
        raise TypeError("whether x is complex is told by example_inputs alone")
    return found


def _told(node: fx.Node, known: dict[fx.Node, bool | None]) -> bool | None:
    value = notes(node).get("val")
    if value is not None:
        return bool(value.is_complex())
    if "parts" in notes(node):
        return any(part.is_complex() for part in notes(node)["parts"])
    name = getattr(node.target, "__name__", str(node.target)).partition(".")[0]
    if name == "stft":  # with or without the arguments of its padding
        return bool(node.kwargs.get("return_complex", node.args[-1] if len(node.args) in (8, 10) else False))
    if name in _MAKE_COMPLEX or name in _MAKE_REAL:
        return name in _MAKE_COMPLEX
    found = [known[n] for n in node.all_input_nodes] or [None]
    if True in found:
        return True
    return None if None in found else False
