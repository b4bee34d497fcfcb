"""A table with one row for each operation of a graph: role, rule, variant, twin, frozen states, source."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch.fx as fx

from ..graph.arguments import check_graph, checked
from ..graph.assumptions import assumptions, said
from ..graph.interpretation import VERSION
from ..graph.ir import emitted, info
from ..results.display import Displayed
from .operations import operation
from .palette import FAMILIES, PALETTE, family

COLUMNS = ("node", "place", "role", "rule", "variant", "twin", "frozen", "source")
LABELS = tuple(FAMILIES)


@dataclass(frozen=True, repr=False)
class Row(Displayed):
    """One operation.

    Parameters
    ----------
    node : str
        Name of the node in the graph.
    place : str
        Name of the place in the model, as ``inputs=`` and ``outputs=`` take it.
    role : {"const", "sized", "shape", "frozen", "affine"}
        "const" depends on no input, "sized" is a constant of the input's size, "shape" is a size, "frozen"
        depends on x0 only, and "affine" is on the path of x1.
    rule, variant : str
        The rule of the operation, and the variant that the policy chose.
    twin : str
        The linear operator that replaces it in the interpreter branch; "" if x1 does not pass through it.
    frozen : str
        The states that the twin takes from x0: mask, index, stats, gate, constant.
    module : str
        Path of the module that ran it.
    source : str
        The line of the user's code.
    """

    node: str
    place: str
    role: str
    rule: str
    variant: str
    twin: str
    frozen: str
    module: str
    source: str


@dataclass(frozen=True, repr=False)
class Summary(Displayed):
    """Every operation of a graph, printed as a table; a notebook shows it as HTML.

    Parameters
    ----------
    name : str
        Class of the graph.
    rows : tuple of Row
        The operations, in graph order.
    nodes : dict
        {branch: number of nodes}.
    nonlinearities : dict
        {rule: number of its operations that freeze a state}.
    freezes : dict
        {label: number of operations that freeze such a state}.
    specialised : str
        The sizes for which torch.export made the graph, if it did; the batch too, unless it is free.
    constant : tuple of str
        Keys of the outputs that do not depend on the probe, if others do.
    linearised : tuple of str
        The operators whose derivative stands for them, each with its line.
    interpretation : int
        The version of the interpretation.
    """

    name: str
    rows: tuple[Row, ...]
    nodes: dict[str, int]
    nonlinearities: dict[str, int]
    freezes: dict[str, int]
    specialised: str = ""
    constant: tuple[str, ...] = ()
    linearised: tuple[str, ...] = ()
    interpretation: int = VERSION

    def _said(self) -> Iterable[str]:
        nodes = " ".join(f"{count} {branch}" for branch, count in self.nodes.items())
        return [
            self.name,
            f"{len(self.rows)} operations",
            f"{nodes} nodes",
            f"freeze edges {_counted(self.freezes)}",
        ]

    @property
    def header(self) -> str:
        """All counts in one line."""
        nodes = ", ".join(f"{count} {branch}" for branch, count in self.nodes.items())
        mark = f"; {self.specialised}" if self.specialised else ""
        mark += (
            f"; constant outputs, which do not depend on the probe: {', '.join(self.constant)}"
            if self.constant
            else ""
        )
        mark += f"; linearised by their derivative: {', '.join(self.linearised)}" if self.linearised else ""
        return (
            f"{self.name}: {nodes} nodes; nonlinearities: {_counted(self.nonlinearities)}; freeze edges:"
            f" {_counted(self.freezes)}{mark}"
        )

    def __str__(self) -> str:
        table = [COLUMNS, *(tuple(getattr(row, name) for name in COLUMNS) for row in self.rows)]
        widths = [max(len(line[i]) for line in table) for i in range(len(COLUMNS))]
        return "\n".join(
            [
                self.header,
                "",
                *(
                    "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                    for line in table
                ),
            ]
        )

    def to_json(self) -> str:
        """All fields as JSON text."""
        return json.dumps(asdict(self), indent=2)

    def _markup(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        body = "\n".join(_html_row(row) for row in self.rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
        top = f"<style>{_STYLE}</style><p>{html.escape(self.header)}</p>"
        return f'<div class="fxscope-summary">{top}{table}</div>'


@checked
def summary(gm: fx.GraphModule) -> Summary:
    """A table with one row for each operation of a graph, in graph order.

    Parameters
    ----------
    gm : torch.fx.GraphModule
        The result of ``fxscope.transform``, or any other graph.

    Returns
    -------
    Summary
        Its columns are node, place, role, rule, variant, twin, frozen and source.

    Raises
    ------
    FxscopeError
        If ``gm`` is no graph.

    Examples
    --------
    >>> import torch, fxscope
    >>> found = fxscope.summary(fxscope.transform(torch.nn.ReLU()))
    >>> found.nonlinearities, found.freezes
    ({'relu': 1}, {'mask': 1})
    """
    nodes = [n for n in check_graph("summary", gm).graph.nodes if n.op not in ("get_attr", "output")]
    twins: dict[str, list[fx.Node]] = {}
    for node in nodes:
        if info(node).branch == "interpreter" and info(node).origin and node.op != "placeholder":
            twins.setdefault(str(info(node).origin), []).append(node)
    originals = [n for n in nodes if info(n).branch != "interpreter" and not info(n).origin]
    rows = [_row(n, twins.pop(n.name, [])) for n in originals]
    rows += [_row(only[-1], only) for only in twins.values()]
    counts: Counter[str] = Counter(info(n).branch or "unmarked" for n in nodes)
    rules = Counter(row.rule for row in rows if row.frozen)
    freezes = Counter(label for row in rows for label in row.frozen.split(", ") if label)
    used = {label: freezes[label] for label in LABELS if freezes[label]}
    return Summary(
        type(gm).__name__,
        tuple(rows),
        dict(counts),
        dict(rules.most_common()),
        used,
        _specialised(gm),
        _constant(gm),
        emitted(gm).get("linearised", ()),
    )


def _constant(gm: fx.GraphModule) -> tuple[str, ...]:
    return tuple(map(repr, emitted(check_graph("summary", gm)).get("constant", ())))


def _specialised(gm: fx.GraphModule) -> str:
    """The sizes for which torch.export made the graph, as text; "" for a graph of symbolic tracing."""
    frontend = emitted(check_graph("summary", gm)).get("frontend") or {}
    if frontend.get("name") != "export":
        return ""
    batch = ", its batch too" if frontend["batch"] == "specialised" else ""
    return f"resolution-specialised (torch.export: {said(assumptions(gm))}){batch}"


def _row(node: fx.Node, twin: list[fx.Node]) -> Row:
    i = info(node)
    labels = {label for t in twin for label in info(t).freezes.values()}
    kinds = dict.fromkeys(str(info(t).twin) for t in twin if info(t).twin)
    rule = (
        i.rule
        or next((info(t).rule for t in twin if info(t).rule), None)
        or ("input" if node.op == "placeholder" else operation(node))
    )
    return Row(
        node.name,
        i.place,
        i.role or "",
        rule,
        i.variant or "",
        ", ".join(kinds),
        ", ".join(label for label in LABELS if label in labels),
        i.module,
        i.source,
    )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def _html_row(row: Row) -> str:
    colour = PALETTE[family(row.frozen.split(", "))].line
    cells = "".join(f"<td>{html.escape(getattr(row, name))}</td>" for name in COLUMNS)
    return (
        f'<tr title="{html.escape(row.module)}" style="box-shadow:inset 3px 0 {colour}">{cells}</tr>'
        if row.frozen
        else f'<tr title="{html.escape(row.module)}">{cells}</tr>'
    )


_STYLE = (
    ".fxscope-summary{overflow:auto;max-height:80vh;font:12px system-ui,sans-serif}.fxscope-summary"
    " table{border-collapse:collapse;font:inherit;color:inherit}.fxscope-summary th,.fxscope-summary"
    " td{padding:2px 8px;text-align:left;white-space:nowrap;border-bottom:1px solid #8885}.fxscope-summary"
    " td:last-child{font-family:ui-monospace,monospace}"
)
