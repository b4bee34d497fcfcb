"""A card for every rule, written from its declaration before the site is read: docs/rules/cards/<verb>.md.

On each card: formula, spellings, variants and which preset uses them, what is frozen, the laws with the
largest error that was measured now on the rule's first sample (float64), the picture of its pair graph, its
source. Nothing is kept in the repository.
"""

from __future__ import annotations

import html
import inspect
import warnings
from dataclasses import dataclass
from pathlib import Path

from docutils.nodes import make_id
from sphinx.util.display import status_iterator

import fxscope
from fxscope.graph.ir import info
from fxscope.rules import registry
from fxscope.rules.declare import UNDER_TAYLOR, Rule
from fxscope.testing.case import LawCase
from fxscope.testing.samples import RuleCase, gives_jacobian, name_of, policy_of, variants
from fxscope.testing.table import CHECKS

VERBS = {
    "mask": ("Masks", "An elementwise unit freezes one factor an element: $y_1 = A(x_0)\\,x_1 + c(x_0)$."),
    "select": (
        "Selections",
        "A unit freezes which entries it chose: $y_1$ is $x_1$ at the indices of $x_0$.",
    ),
    "normalize": (
        "Normalisations",
        "Mean and deviation of $x_0$ are frozen; variant `scale` keeps the mean linear.",
    ),
    "product": (
        "Products",
        "One factor of a product is frozen as the gate of the other, or both are read evenly.",
    ),
    "constant": ("Constants", "The value on $x_0$ is kept: what has no useful slope, or only feeds a gate."),
    "linear": (
        "Linear operators",
        "Already linear; the twin is the operator itself, and its bias belongs to $r$.",
    ),
    "composite": (
        "Written out",
        "Rewritten into simpler operators before anything is frozen; their rules and policies apply.",
    ),
}
MASKS = {  # a page each, of the 66 masks
    "activations": (
        "Masks: activations",
        "Units of networks, elementwise: which piece is active, or the factor $h(x_0)/x_0$.",
        {"abs", "celu", "clamp", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh"}
        | {"leaky_relu", "log_sigmoid", "mish", "prelu", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu"}
        | {"softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold"},
    ),
    "functions": (
        "Masks: functions of numbers",
        "Powers and roots, exponentials and logarithms, and the functions of angles.",
        {
            "atan2",
            "erf",
            "erfc",
            "exp",
            "exp2",
            "expm1",
            "hypot",
            "log",
            "log2",
            "log10",
            "log1p",
            "logaddexp",
        }
        | {
            "logaddexp2",
            "pow",
            "square",
            "sqrt",
            "rsqrt",
            "sin",
            "cos",
            "tan",
            "atan",
            "sinh",
            "cosh",
            "asinh",
        }
        | {"atanh"},
    ),
    "reductions": (
        "Masks: products, norms and deviations",
        "Where one number is made of many: each gets the factor that it has at $x_0$.",
        None,  # all others
    ),
}
LAWS = {
    check.name: check.statement
    for check in CHECKS
    if check.name in {f"law {n}" for n in "1234569"} | {"law 11"}
}


@dataclass(frozen=True)
class Measured:
    """One variant of a rule on its first sample: what it freezes, and {law: largest relative error}."""

    variant: str
    frozen: tuple[str, ...]
    errors: dict[str, float]


def measure(rule: Rule) -> list[Measured]:
    """Every variant of a rule under the laws; law 6 where F is the Jacobian."""
    case = RuleCase.first(rule)
    return [] if case is None else [_measure(case, variant) for variant in variants(rule)]


def _measure(case: RuleCase, variant: str) -> Measured:
    s = LawCase.of(case.target(), (case.x0,), policy=policy_of(case.rule, variant))
    frozen = {label for n in s.form("pair").graph.nodes for label in info(n).freezes.values()} - {"size"}
    names = [name for name in LAWS if name != "law 6" or gives_jacobian(case.rule, variant)]
    return Measured(
        variant, tuple(sorted(frozen)), {law.name: law.error for law in s.measured(names) if not law.skipped}
    )


def card(rule: Rule) -> str:
    """The card of a rule, in Markdown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = measure(rule)
    names = [f"`{name_of(f)}`" for f in (rule.target, *rule.functions) if not isinstance(f, str)]
    names += [
        f"`Tensor.{m}`" for m in (*([rule.target] if isinstance(rule.target, str) else []), *rule.methods)
    ] + [f"`nn.{m.__name__}`" for m in rule.modules]
    parts = [f"(rule-{rule.name})=", f"## {rule.name}", ""]
    parts += ["```text", *rule.formula.split(";  "), "```", ""] if rule.formula else []
    parts += [f"**Spelled** {', '.join(dict.fromkeys(names))}.", ""]
    frozen = sorted({label for m in found for label in m.frozen})
    parts += [f"**Frozen on x0** {', '.join(frozen) if frozen else 'nothing'}.", ""] if found else []
    if len(rule.variants) > 1:
        parts += [f"**Variants** {_variants(rule)}.", ""]
    parts += [f"**Under `taylor`** {_under_taylor(rule)}", ""]
    parts += _table(rule, found) if found else [f"No sample: {rule.unsampled}.", ""]
    declared = f"Declared in `{_where(rule)}`."
    parts += [f"**Source** {rule.source}. {declared}" if rule.source else declared, ""]
    return "\n".join([*parts, _picture(rule), ""])


def _under_taylor(rule: Rule) -> str:
    """What policy "taylor" does, and which arguments may not depend on the probe then."""
    said = UNDER_TAYLOR[rule.under_taylor]
    names = " and ".join(f"`{name}`" for name in _constants(rule))
    return said + (f" It is an error if {names} depend on the probe." if names else "")


def _constants(rule: Rule) -> tuple[str, ...]:
    """The arguments that other policies freeze, and of which there is no derivative."""
    return () if rule.under_taylor == "parts" else rule.frozen


def taylor_page(rules: list[Rule]) -> str:
    """What policy "taylor" does with every rule."""
    lines = ["# Under policy taylor", "", "| what stands for the derivative | rules |", "|---|---|"]
    for kind, said in UNDER_TAYLOR.items():
        names = ", ".join(f"[{r.name}](#rule-{r.name})" for r in rules if r.under_taylor == kind)
        lines.append(
            f"| {said} | {names or 'none of the package; a rule of yours without a variant `taylor`'} |"
        )
    lines += ["", "An error, where these arguments depend on the probe:", ""]
    for rule in rules:
        if names := ", ".join(f"`{name}`" for name in _constants(rule)):
            lines.append(f"* [{rule.name}](#rule-{rule.name}): {names}")
    return "\n".join([*lines, ""])


def _variants(rule: Rule) -> str:
    uses = {
        variant: [preset for preset, used in rule.presets.items() if used == variant]
        for variant in rule.variants
    }
    return ", ".join(
        f"`{variant}`" + (f" (preset {', '.join(presets)})" if presets else "")
        for variant, presets in uses.items()
    )


def _table(rule: Rule, found: list[Measured]) -> list[str]:
    head = "".join(
        f"<th title='{html.escape(statement)}'>"
        f"<a href='../../laws.html#{law.replace(' ', '-')}'>{law}</a></th>"
        for law, statement in LAWS.items()
    )
    rows = "".join(
        f"<tr><td>{m.variant}</td>"
        + "".join(f"<td>{_error(m.errors.get(law))}</td>" for law in LAWS)
        + "</tr>"
        for m in found
    )
    reasons = [
        f"Variant `{v}` breaks {law} by its definition: {why}." for v, (law, why) in rule.breaks.items()
    ]
    return [
        "```{raw} html",
        '<div class="fxscope-wide">',
        f"<table class='laws'><tr><th>variant</th>{head}</tr>{rows}</table></div>",
        "```",
        "",
        *reasons,
        "",
    ]


def _error(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.0e}"


def _where(rule: Rule) -> str:
    path = Path(rule.file)
    return f"{path.parent.name}/{path.name}" if path.name else "?"


def _picture(rule: Rule) -> str:
    """The pair graph of the rule's first sample, the original operation beside its twin."""
    case = RuleCase.first(rule)
    if case is None:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gm = fxscope.transform(case.target(), example_inputs=(case.x0,))
    from graphs import details, python

    drawing = fxscope.draw(gm, fold=False).clickable(page_style=True, rules="./")
    source = "".join(
        inspect.getsource(f)
        for f in dict.fromkeys(rule.variants.values())
        if f is not None and f.__name__ != "_written_out" and rule.verb != "linear"
    )
    code = f"<p>What the rule does:</p>{python(source)}" if source else ""
    body = details(
        "The operation beside its twin" + (", and the rule's code" if code else ""), drawing + code
    )
    return "\n".join(["```{raw} html", body.replace("\n```", "\n ```"), "```"])


def write(app) -> None:
    """Write the pages; only where their text changed, so that an unchanged page is not read again."""
    if app.builder.format != "html":
        return
    folder = Path(app.srcdir) / "rules" / "cards"
    folder.mkdir(parents=True, exist_ok=True)
    rules = sorted(registry().rules.values(), key=lambda r: r.name)
    texts = {
        rule.name: card(rule)
        for rule in status_iterator(
            rules, "rule cards... ", "brown", len(rules), stringify_func=lambda r: r.name
        )
    }
    for name, text in pages(rules, texts).items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def pages(rules: list[Rule], texts: dict[str, str]) -> dict[str, str]:
    """A page a verb; that of the masks is a table, which leads to the pages of their groups."""
    found = {"taylor": taylor_page(rules)}
    for verb, (title, text) in VERBS.items():
        chosen = [r for r in rules if r.verb == verb]
        if verb == "mask":
            groups = _groups(chosen)
            found[verb] = _masks(title, text, groups)
            for name, members in groups.items():
                found[f"mask-{name}"] = _page(*MASKS[name][:2], [texts[r.name] for r in members])
        else:
            found[verb] = _page(title, text, [texts[r.name] for r in chosen])
    return found


def _page(title: str, text: str, cards: list[str]) -> str:
    return "\n".join([f"# {title}", "", text, "", *cards])


def _groups(masks: list[Rule]) -> dict[str, list[Rule]]:
    """The masks by the page they are on."""
    named = set().union(*(names or () for _, _, names in MASKS.values()))
    return {
        name: [r for r in masks if (r.name in names if names else r.name not in named)]
        for name, (_, _, names) in MASKS.items()
    }


def _masks(title: str, text: str, groups: dict[str, list[Rule]]) -> str:
    """The table of all masks: formula, and the way to the card."""
    parts = [f"# {title}", "", text, ""]
    for name, members in groups.items():
        rows = "".join(
            f"<tr id='rule-{make_id(r.name)}'>"
            f"<td><a href='mask-{name}.html#rule-{make_id(r.name)}'>{r.name}</a></td>"
            f"<td><code>{html.escape(r.formula)}</code></td></tr>"
            for r in members
        )
        head = "<tr><th>rule</th><th>formula</th></tr>"
        table = f'<div class="fxscope-wide"><table class="fxscope-rules">{head}{rows}</table></div>'
        parts += [f"## [{MASKS[name][0]}](mask-{name}.md)", "", "```{raw} html", table, "```", ""]
    listed = [f"mask-{name}" for name in groups]
    return "\n".join([*parts, "```{toctree}", ":hidden:", "", *listed, "```", ""])


def setup(app):
    # before the gallery, whose example registers a rule of its own
    app.connect("builder-inited", write, priority=100)
    return {"parallel_read_safe": False}
