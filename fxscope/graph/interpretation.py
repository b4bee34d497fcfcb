"""The version of the interpretation: which F a network has.

fxscope promises this F, and every number says of which version it is.

``VERSION`` grows by one whenever some F (a row, a residual, a contribution) of some network changes by more
than rounding, whatever the reason: a rule mended, another operand of a product frozen. It is no version of
the package, which changes more often and for other reasons. Records, saved files, emitted graphs and pages
carry it; what carries none is of version 1. Numbers of any version can be read; comparing them, or going on
from them, takes one version, and raises ``OtherInterpretation`` otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import OtherInterpretation

KEY = "interpretation"  # in records and in ``GraphModule.meta["fxscope"]``
FILE_KEY = "fxscope.interpretation"  # in saved graphs
VERSION = 2

# What changed, by version; docs/interpretations.md shows this table
CHANGES: dict[int, tuple[str, ...]] = {
    1: ("As first published.",),
    2: (
        (
            "Which operand of a product is frozen is read off the graph, never off the sizes of an "
            "example: at B = 1 the batch is no reduced dimension (`x * (x + 1)`, `x @ x.transpose(1, 2)`, "
            '`einsum("bij,bkj->bik", x, x + 1)`), and a slice of length 1 or an inserted dimension is none '
            "either."
        ),
        (
            "`transform(model)` and `interpret(model, x0)` freeze the same operands: what an operator "
            "reduced is known without an example, however its dimension comes back (`c(x) * l(x.mean((2, "
            "3)))[:, :, None, None]`, a one-channel convolution, `expand`, `reshape` to sizes that were read "
            "off a tensor), and is not carried through a layer that fills it."
        ),
        (
            "`a * b`, `a @ b` and `einsum` freeze the same operand: one that was reduced, or contracted, "
            "along what the other runs over (attention without a softmax, the context of linear "
            "attention). A bounded operand stays bounded under a parameter or a buffer."
        ),
        (
            "Every spelling of one function has one F: `nn.Bilinear` and its einsum; `(a * sigmoid(a)) * "
            'b` and `F.silu(a) * b` under "detach"; `F.lp_pool`, norms and deviations as roots of sums of '
            "powers; `x - logsumexp(x)` and `log_softmax(x)`; sigmoid and softplus written with "
            "exponentials; the root of a sum of two squares and `hypot`."
        ),
        (
            "The real operand of a complex product is its gate: real and imaginary part share it "
            "(`z * relu(z.abs() - b)`)."
        ),
        (
            "A model that draws is read under one draw. `max_unpool` freezes which of two writes won, 3-d "
            "fractional max pooling draws once, and RReLU draws as torch does."
        ),
        (
            "Where the traced graph was another function than the model (writes through views that were "
            "lost, overridden or patched modules, branches on `isinstance`, integer inputs, modules that "
            "the forward sets anew for one call), F is the model's own."
        ),
        ("Indices on both sides of a slice (`x[:, i, :, j]`) are read for each probe by itself."),
    ),
}


def of(record: Any) -> int:
    """The version that a record (or its header, origin, or JSON) is of: 1 where it carries none."""
    if isinstance(record, dict):
        return int(record.get(KEY, of(record["origin"]) if isinstance(record.get("origin"), dict) else 1))
    own = getattr(record, KEY, None)
    return of(getattr(record, "origin", {}) or {}) if own is None else int(own)


def check(record: Any, what: str, instead: str) -> None:
    """Raise ``OtherInterpretation`` if a record that is continued is of another version.

    ``instead`` is the next step, for the message.
    """
    version = of(record)
    if version != VERSION:
        raise OtherInterpretation(
            f"{what} is of version {version} of the interpretation, this is version {VERSION}: some F are"
            f" others by now (docs/interpretations.md), and the two would mix without a word; {instead}"
        )


def together(records: Iterable[Any], what: str) -> None:
    """Raise ``OtherInterpretation`` where records that are compared are of several versions."""
    versions = sorted({of(record) for record in records})
    if len(versions) > 1:
        raise OtherInterpretation(
            f"{what}: records of versions {' and '.join(map(str, versions))} of the interpretation are not"
            " comparable, since some F are others (docs/interpretations.md); compute them again with one"
            " version"
        )
