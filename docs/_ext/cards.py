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
# a page each, of verbs with more rules than a page holds: title, what it is, names (None: all others)
GROUPS = {
    "mask": {
        "activations": (
            "Masks: activations",
            "Units of networks, elementwise: which piece is active, or the factor $h(x_0)/x_0$.",
            """abs celu clamp elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu log_sigmoid
            mish prelu relu relu6 rrelu selu sigmoid silu softplus softshrink softsign tanh tanhshrink
            threshold""",
        ),
        "functions": (
            "Masks: functions of numbers",
            "Powers and roots, exponentials and logarithms, and the functions of angles.",
            """atan2 erf erfc exp exp2 expm1 hypot log log2 log10 log1p logaddexp logaddexp2 pow square
            sqrt rsqrt sin cos tan atan sinh cosh asinh atanh""",
        ),
        "reductions": (
            "Masks: products, norms and deviations",
            "Where one number is made of many: each gets the factor that it has at $x_0$.",
            None,
        ),
    },
    "linear": {
        "windows": (
            "Linear: convolutions, windows and resampling",
            "What reads a neighbourhood of every place; where the neighbourhood is computed, it is frozen.",
            """adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d affine_grid avg_pool1d
            avg_pool2d avg_pool3d conv1d conv2d conv3d conv_transpose1d conv_transpose2d
            conv_transpose3d deform_conv2d fold grid_sample interpolate max_unpool1d max_unpool2d
            max_unpool3d ps_roi_align ps_roi_pool roi_align unfold windows""",
        ),
        "shapes": (
            "Linear: shapes and places",
            "What moves numbers to other places, repeats them or leaves some out.",
            """adjoint cat channel_shuffle chunk contiguous diagonal diagonal_scatter expand expand_as
            flatten flip getitem index_select movedim narrow pad permute pixel_shuffle pixel_unshuffle
            repeat repeat_interleave reshape roll select select_scatter slice_scatter split squeeze
            stack t tensor_split tile transpose tril triu unbind unflatten unsqueeze""",
        ),
        "numbers": (
            "Linear: sums, products and types",
            "Sums and products with constants, transforms, and changes of the number type.",
            None,
        ),
    },
    "composite": {
        "layers": (
            "Written out: layers and distances",
            "Norms, recurrent cells, attention, gated units and distances, operator by operator.",
            """alpha_dropout batch_norm_aten batch_norm_running bilinear cdist cosine_similarity dist
            embedding_aten feature_alpha_dropout glu group_norm_aten gru_cell instance_norm_aten
            layer_norm_aten log_softmax_functional lstm_cell pairwise_distance pdist rnn_relu_cell
            rnn_tanh_cell scaled_dot_product_attention softmax_functional softmin std_mean var_mean""",
        ),
        "places": (
            "Written out: resampling and places",
            "Enlarging, windows, and reading and writing at indices.",
            """_upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d
            _upsample_nearest_exact2d _upsample_nearest_exact3d as_strided col2im dsplit fill
            fractional_max_pool2d_values fractional_max_pool3d_values grid_sampler hsplit im2col index
            index_add_aten mT masked_scatter numpy_T put ravel scatter slice take upsample_bicubic2d
            upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
            upsample_nearest3d upsample_trilinear3d view_as vsplit""",
        ),
        "numbers": (
            "Written out: sums, products and types",
            "Other spellings of arithmetic, of types and of order.",
            None,
        ),
    },
    "constant": {
        "tests": (
            "Constants: comparisons and tests",
            "True or false, which has no slope.",
            """all any eq ge gt invert isclose isfinite isinf isnan isneginf isposinf isreal le
            logical_and logical_not logical_or logical_xor lt ne signbit""",
        ),
        "values": (
            "Constants: steps, indices and filled tensors",
            "Values that do not move with the input, or that only feed a gate.",
            None,
        ),
    },
}
PLACES: dict[str, str] = {}  # {the id of a rule's card: its page}, when the pages are written
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
    """A page a verb; that of a verb with many rules is a table, which leads to the pages of their groups."""
    found = {"taylor": taylor_page(rules)}
    for verb, (title, text) in VERBS.items():
        chosen = [r for r in rules if r.verb == verb]
        if verb not in GROUPS:
            found[verb] = _page(title, text, [texts[r.name] for r in chosen])
            continue
        groups = _groups(verb, chosen)
        found[verb] = _index(verb, groups)
        for name, members in groups.items():
            PLACES.update({make_id(r.name): f"{verb}-{name}" for r in members})
            found[f"{verb}-{name}"] = _page(*GROUPS[verb][name][:2], [texts[r.name] for r in members])
    return found


def _page(title: str, text: str, cards: list[str]) -> str:
    return "\n".join([f"# {title}", "", text, "", *cards])


def _groups(verb: str, chosen: list[Rule]) -> dict[str, list[Rule]]:
    """The rules of a verb by the page they are on."""
    names = {group: (listed or "").split() for group, (_, _, listed) in GROUPS[verb].items()}
    named = {name for listed in names.values() for name in listed}
    if unknown := named - {r.name for r in chosen}:
        raise ValueError(f"docs/_ext/cards.py groups {sorted(unknown)}, no rules of {verb}")
    return {
        group: [r for r in chosen if (r.name in listed if listed else r.name not in named)]
        for group, listed in names.items()
    }


def _index(verb: str, groups: dict[str, list[Rule]]) -> str:
    """The table of all rules of a verb: formula, and the way to the card."""
    title, text = VERBS[verb]
    parts = [f"# {title}", "", text, ""]
    for name, members in groups.items():
        rows = "".join(
            f"<tr id='rule-{make_id(r.name)}'>"
            f"<td><a href='{verb}-{name}.html#rule-{make_id(r.name)}'>{r.name}</a></td>"
            f"<td><code>{html.escape(r.formula)}</code></td></tr>"
            for r in members
        )
        head = "<tr><th>rule</th><th>formula</th></tr>"
        table = f'<div class="fxscope-wide"><table class="fxscope-rules">{head}{rows}</table></div>'
        parts += [f"## [{GROUPS[verb][name][0]}]({verb}-{name}.md)", "", "```{raw} html", table, "```", ""]
    listed = [f"{verb}-{name}" for name in groups]
    return "\n".join([*parts, "```{toctree}", ":hidden:", "", *listed, "```", ""])


def setup(app):
    # before the gallery, whose example registers a rule of its own
    app.connect("builder-inited", write, priority=100)
    return {"parallel_read_safe": False}
