"""The figures and the numbers of the article, and what its page needs: data, style and script of its own.

``{fact}`` is a role: the text is a name of ``facts()``, and the number is what is computed or kept.
"""

from __future__ import annotations

import base64
import json
import re
import tomllib
from functools import cache
from pathlib import Path

import article_data as data
import numpy as np
import torch
from article_marks import Figure, blended, number, picture, polyline, signed, square, svg, text
from docutils import nodes
from torch import nn

import fxscope

PAGE = "article"
NAMES = {
    "bicubic": "bicubic filter",
    "pixelshuffle": "4 layers, trained here",
    "real_esr": "Real-ESRGAN, 18 layers",
}
CUT = 22  # input pixels that an eigen-input is shown on
VIEW = 2 * max(data.REACH.values()) + 1  # input pixels that a panel is wide
DOCS = Path(__file__).parents[1]
SMALL = "A part of scikit-image's photograph “chelsea” in grey, 48 × 48 pixels"


def caption(name: str, **said) -> str:
    """The words below a figure."""
    told = tomllib.loads((data.HERE / "captions.toml").read_text(encoding="utf-8"))
    return told[name].strip().format(small=SMALL, command=data.kept()["command"], **said)


@cache
def facts() -> dict[str, str]:
    """Every number in the text by its name."""
    kept, path = data.kept(), data.path()
    found = {f"psnr {name}": f"{value:.1f}" for name, value in kept["psnr"].items()}
    for name, rows in data.walks().items():
        found[f"reads {name}"] = str(reads(rows))
        found[f"share {name}"] = f"{100 * np.abs(rows.r).mean() / np.abs(rows.y).mean():.1f}%"
    score = kept["score"]
    found |= {name: number(score[name]) for name in ("score", "linear", "residual")}
    found |= {"label": score["label"], "size": score["size"]}
    eight, three = (data.votes()[8]["sums"][n] for n in (8, 3))
    apart = [a - b for a, b in zip(eight, three)]
    found |= {"ink": number(eight[0]), "eight": number(sum(eight))}
    found |= {"ink of difference": number(apart[0]), "difference": number(sum(apart))}
    found["changed"] = f"{100 * path['changed'][0, 1]:.0f}%"
    values = data.eigen().s
    found["singular"] = ", ".join(f"{float(s):.1f}" for s in values)
    return found | _found() | _faithful()


def reads(rows: data.Rows) -> int:
    """How many input pixels hold nine tenths of the magnitudes of a row, in the median over all places."""
    sizes = -np.sort(-np.abs(data.decoded(rows.codes, rows.largest)).reshape(len(rows.codes), -1), axis=1)
    held = sizes.cumsum(1) / sizes.sum(1, keepdims=True)
    return int(np.median((held < 0.9).sum(1) + 1))


def _found() -> dict[str, str]:
    """What the page of findings says of photographs and of noise."""
    page = (DOCS / "findings.md").read_text(encoding="utf-8")
    shares = re.search(r"The residual is the larger part of the score: about x = 0: (.*)\.$", page, re.M)[1]
    each = dict(re.findall(r"(efficientnet_lite\d) (\d+ ± \d+%)", shares))
    noise = re.findall(
        r"^\| `efficientnet_lite0` \| freeze \| (\d+) \| (\d+) ± \d+% \| ([\d.]+) ± [\d.]+% \| (\d+) ± ",
        page,
        re.M,
    )[-1]
    names = ("photographs", "gap 1", "changed 1", "gap 8")
    return {f"share {name[-5:]}": value for name, value in each.items()} | dict(zip(names, noise))


def _faithful() -> dict[str, str]:
    """What deleting pixels says, and how far noise turns a row."""
    held = DOCS / "studies" / "results" / "faithfulness-efficientnet_lite0.json"
    freeze = json.loads(held.read_text(encoding="utf-8"))["freeze"]
    deleted = {
        f"deleted {name}": f"{freeze['deletion'][key]['mean']:.2f}"
        for name, key in (("row", "|row * x0|"), ("random", "random"))
    }
    cosine = freeze["noise"]["row cosine"]["0.01"]["mean"]
    return deleted | {"cosine": f"{cosine:.2f}", "angle": f"{np.degrees(np.arccos(cosine)):.0f}"}


def sum_of(inner: float, r: float, y: float) -> str:
    """The identity of a row in numbers."""
    sign, size = ("−", -r) if r < 0 else ("+", r)
    return f"{number(inner, 3)} {sign} {size:.3f} = {number(y, 3)}"


def walk() -> Figure:
    """What one output reads, in three networks, for every pixel of a photograph."""
    name, (a, b) = next(iter(data.PLACES.items()))
    at, walks = a * data.SIDE + b, data.walks()
    shown = picture(
        walks["pixelshuffle"].output,
        "A cat's eye in grey, four times larger, with a mark on the output pixel that is read",
    )
    panels = "".join(_panel(key, rows, at) for key, rows in walks.items())
    buttons = "".join(
        f'<button type="button" data-at="{y},{x}">{words}</button>' for words, (y, x) in data.PLACES.items()
    )
    marks = '<span class="field"></span><span class="pixel"></span>'
    inner = (
        f'<div class="walk-grid" data-at="{a},{b}"><div class="walk-photo" tabindex="0" role="group"'
        ' aria-label="'
        f'Photograph: move over it, or use the arrow keys">{shown}{marks}</div>{panels}</div>'
        f'<p class="controls">{buttons}<label><input type="checkbox" checked> photograph beneath</label></p>'
    )
    return Figure("walk", inner, caption("walk", place=name))


def _panel(key: str, rows: data.Rows, at: int) -> str:
    codes = square(rows.codes[at], VIEW)
    drawn = picture(signed(codes), f"The row of {NAMES[key]} at {next(iter(data.PLACES))}")
    said = sum_of(rows.inner[at], rows.r[at], rows.y[at])
    return (
        f'<div class="panel" data-network="{key}"><div class="view">{drawn}</div>'
        f'<p class="name">{NAMES[key]}</p>'
        f'<p class="sum">{said}</p></div>'
    )


def units() -> Figure:
    """A unit and what it becomes when its decision is frozen: three curves with their lines."""
    cases = (
        ("ReLU, x₀ = 1.2: open", nn.ReLU(), 1.2, "freeze"),
        ("ReLU, x₀ = −0.8: shut", nn.ReLU(), -0.8, "freeze"),
        ("SiLU, x₀ = 1.2: factor frozen", nn.SiLU(), 1.2, "freeze"),
        ("SiLU, x₀ = 1.2: derivative", nn.SiLU(), 1.2, "taylor"),
    )
    inner = '<div class="units">' + "".join(_unit(*case) for case in cases) + "</div>"
    return Figure("frozen", inner, caption("frozen"))


def _unit(title: str, unit: nn.Module, x0: float, policy: str) -> str:
    lin = fxscope.interpret(nn.Sequential(unit), torch.tensor([[x0]], dtype=torch.float64), policy=policy)
    slope, r = float(lin.F.to_dense().reshape(())), float(lin.residual.reshape(()))
    xs = torch.linspace(-2, 2, 81, dtype=torch.float64)
    ys = unit(xs)

    def place(x, y):
        return 80 + 36 * float(x), 92 - 36 * float(y)

    axes = '<path class="axis" d="M8 92H152M80 8V140"/>'
    curve = polyline([place(x, y) for x, y in zip(xs, ys)], "curve")
    line = polyline([place(x, slope * x + r) for x in (-2, 2)], "frozen-line")
    cx, cy = place(x0, slope * x0 + r)
    dot = f'<circle class="dot" cx="{cx:.1f}" cy="{cy:.1f}" r="4"/>'
    said = f"y₁ = {number(slope, 3)} x₁" + (
        f" {'+' if r > 0 else '−'} {abs(r):.3f}" if abs(r) > 1e-12 else ""
    )
    alt = f"{title}: {said}"
    return f"<div>{svg(160, 148, axes + curve + line + dot, alt)}<p><b>{title}</b><br>{said}</p></div>"


def columns() -> Figure:
    """Where an input pixel goes, in three networks, at two places."""
    rows = []
    for place in data.PLACES:
        cells = [f'<p class="place">{place}</p>']
        for key, found in data.walks().items():
            codes = square(found.columns[place], 4 * VIEW)
            cells.append(picture(signed(codes), f"The column of {NAMES[key]} at {place}"))
        rows.append("".join(cells))
    heads = "<p></p>" + "".join(f'<p class="name">{name}</p>' for name in NAMES.values())
    return Figure("columns", f'<div class="column-grid">{heads}{"".join(rows)}</div>', caption("columns"))


def eigen() -> Figure:
    """The inputs that the network amplifies most at the photograph."""
    found, grey = data.eigen(), data.shade(data.photograph()[1][0, 0])
    large, cells = data.walks()["pixelshuffle"].output, []
    for n, s in enumerate(found.s):
        v = data.coded(found.v[n].detach().reshape(data.SIDE, data.SIDE).numpy(), (0, 1))[0]
        u = data.coded(found.u[n].detach().reshape(large.shape).numpy(), (0, 1))[0]
        peak = np.unravel_index(np.abs(v).argmax(), v.shape)
        box = [slice(at, at + CUT) for at in (min(max(0, p - CUT // 2), data.SIDE - CUT) for p in peak)]
        wide = [slice(data.FACTOR * side.start, data.FACTOR * side.stop) for side in box]
        pictures = (
            picture(blended(codes[*part], shades[*part]), f"{what} {n + 1} over the photograph")
            for what, codes, shades, part in (("Eigen-input", v, grey, box), ("Eigen-output", u, large, wide))
        )
        cells.append(f'<div>{"".join(pictures)}<p class="sum">σ = {float(s):.2f}</p></div>')
    return Figure(
        "eigen",
        f'<div class="eigen-grid">{"".join(cells)}</div>',
        caption("eigen", cut=CUT, error=f"{float(max(found.errors)):.0e}"),
    )


def path() -> Figure:
    """Two scores between two digits, and the map that is frozen at one of the places."""
    found = data.path()
    low, high = float(found["curve"].min()) - 2, float(found["curve"].max()) + 2
    at = data.STEPS // 2 - 4

    def place(t, y):
        return 40 + 590 * float(t), 250 - 230 * (float(y) - low) / (high - low)

    body = f'<path class="axis" d="M40 {place(0, 0)[1]:.1f}H630M40 14V256"/>' + text(
        34, place(0, 0)[1] + 4, "0", "tick", "end"
    )
    for n, kind in ((0, "above"), (1, "below")):
        curve = [place(t, y) for t, y in zip(found["t"], found["curve"][:, n])]
        body += polyline(curve, f"curve {kind}")
        y, slope = found["curve"][4 * at, n], found["slopes"][at, n]
        ends = [place(t, y + slope * (t - at / (data.STEPS - 1))) for t in (0, 1)]
        body += polyline(ends, f"frozen-line {kind}")
        cx, cy = place(at / (data.STEPS - 1), y)
        body += f'<circle class="dot {kind}" cx="{cx:.1f}" cy="{cy:.1f}" r="5"/>'
    body += text(44, 26, f"score of “{data.ENDS[0]}”", "above label") + text(
        626, 26, f"score of “{data.ENDS[1]}”", "below label", "end"
    )
    plot = svg(
        640,
        264,
        body,
        "Two scores of a network along the line between two digits, and two straight lines that touch them",
    )
    ends = [picture(ink(data.digits()[n]), f"A handwritten {n}") for n in data.ENDS]
    inner = (
        f'<div class="path-plot" data-low="{low}" data-high="{high}">{plot}</div>'
        f'<div class="path-row">{ends[0]}<input type="range" min="0" max="{data.STEPS - 1}" value="{at}"'
        ' aria-label="where the map is frozen">'
        f'{ends[1]}</div><p class="said" aria-live="polite">{said_of_path(at)}</p>'
    )
    return Figure("path", inner, caption("path"))


def said_of_path(at: int) -> str:
    """What the frozen map says at the far end, against the network, in a sentence."""
    found, t = data.path(), at / (data.STEPS - 1)
    y, slope = found["curve"][4 * at, 0], found["slopes"][at, 0]
    return (
        f"At the {data.ENDS[1]} the frozen map gives “{data.ENDS[0]}” the score"
        f" {number(y + slope * (1 - t), 1)}, the network {number(found['curve'][-1, 0], 1)};"
        f" {100 * found['changed'][at, 1]:.0f}% of the decisions are others there."
    )


def ink(x: torch.Tensor) -> np.ndarray:
    """Grey values of a normalised digit, dark on white."""
    plane = x.reshape(x.shape[-2:])
    return 255 - data.shade((plane - plane.min()) / (plane.max() - plane.min()))


def digits() -> Figure:
    """A score, or the difference of two, in pixels and layers."""
    which = "".join(
        f'<button type="button" data-digit="{n}" aria-pressed="{str(n == 3).lower()}">'
        f"{picture(ink(x), f'digit {n}')}</button>"
        for n, x in enumerate(data.digits())
    )
    options = "".join(f'<option value="{n}"{" selected" if n == 3 else ""}>{n}</option>' for n in range(10))
    found = data.votes()[3]
    row = picture(signed(data.coded(found["rows"][3], (0, 1))[0]), "The row of score 3 at a handwritten 3")
    inner = (
        f'<div class="which">{which}</div><p class="controls"><label>score of'
        f' <select class="one">{options}</select></label><label>minus <select class="other">'
        f'<option value="">nothing</option>{options.replace(" selected", "")}</select></label></p>'
        f'<div class="digit-grid"><div class="view">{row}</div>'
        f'<div class="bars">{bars(found["layers"], found["sums"][3])}</div></div>'
    )
    return Figure("digits", inner, caption("digits"))


def bars(layers: list[str], values: list[float]) -> str:
    """Terms of a score as rows of a table with a bar each, and their sum."""
    largest = max(*(abs(v) for v in values), abs(sum(values)))
    names = ["F x₀", *layers, "score"]
    rows = []
    for name, value in zip(names, [*values, sum(values)]):
        kind, width = ("above" if value >= 0 else "below"), 50 * abs(value) / largest
        left = 50 if value >= 0 else 50 - width
        bar = f'<span class="bar {kind}" style="left:{left:.2f}%;width:{width:.2f}%"></span>'
        rows.append(
            f'<div class="term"><span>{name}</span><span class="track">{bar}</span>'
            f"<span>{number(value)}</span></div>"
        )
    return "".join(rows)


def waterfall() -> Figure:
    """The score of a large classifier, from F x0 through the constants of its layers."""
    score = data.kept()["score"]
    steps = [("F x₀", score["linear"]), *score["layers"].items()]
    ends = np.cumsum([0, *(value for _, value in steps)])
    low, high = min(ends.min(), 0) - 1, ends.max() + 1
    width = 600 / len(steps)

    def y(value):
        return 12 + 206 * (high - value) / (high - low)

    body = f'<path class="axis" d="M30 {y(0):.1f}H632"/>' + text(26, y(0) + 4, "0", "tick", "end")
    for n, ((_, value), start) in enumerate(zip(steps, ends)):
        kind = "linear" if n == 0 else "above" if value >= 0 else "below"
        top, size = min(y(start), y(start + value)), max(0.8, abs(y(start) - y(start + value)))
        x, wide = 32 + n * width, width - 1.5
        body += f'<rect class="{kind}" x="{x:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{size:.1f}"/>'
    end = y(ends[-1])
    body += f'<path class="axis dashed" d="M30 {end:.1f}H632"/>' + text(
        34, end - 5, f"score {number(score['score'], 1)}", "label"
    )
    body += text(32, 240, "F x₀", "label") + text(632, 240, "last layer", "label", "end")
    alt = (
        f"From F x0 = {score['linear']:.2f} the constants of {len(score['layers'])} layers lead to the score"
    )
    return Figure(
        "waterfall",
        svg(640, 250, body, alt),
        caption("waterfall", **{n: facts()[n] for n in ("label", "linear", "score", "size")}),
    )


def _text64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def script() -> str:
    """The data of the live figures as a script, which a page that was opened from disk can load."""
    walks, found = data.walks(), data.path()
    networks = {
        key: {
            "reach": data.REACH[key],
            "codes": _text64(rows.codes),
            **{name: np.round(getattr(rows, name), 5).tolist() for name in ("inner", "r", "y")},
        }
        for key, rows in walks.items()
    }
    rows = np.stack([[data.coded(row, (0, 1))[0] for row in each["rows"]] for each in data.votes()])
    largest = [np.abs(each["rows"]).max((1, 2)).tolist() for each in data.votes()]
    told = {
        "walk": {
            "side": data.SIDE,
            "view": VIEW,
            "networks": networks,
            "photo": _text64(data.shade(data.photograph()[1][0, 0])),
        },
        "path": {name: np.round(value, 4).tolist() for name, value in found.items()} | {"ends": data.ENDS},
        "digits": {
            "rows": _text64(rows),
            "largest": largest,
            "layers": data.votes()[0]["layers"],
            "sums": [each["sums"] for each in data.votes()],
            "ink": _text64(np.stack([255 - ink(x) for x in data.digits()])),
        },
    }
    return f"window.fxscopeArticle = {json.dumps(told)};\n"


def fact(name, rawtext, text, lineno, inliner, options=None, content=None):
    """The role: a number by its name."""
    if text not in facts():
        return [], [inliner.reporter.error(f"no fact {text!r}; there are {', '.join(facts())}", line=lineno)]
    return [nodes.inline(rawtext, facts()[text], classes=["fact"])], []


def write_data(app) -> None:
    """Write the data of the live figures where they are not there yet."""
    path = app.outdir / "_static" / "article-data.js"
    if app.builder.format == "html" and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script(), encoding="utf-8")


def own_files(app, pagename, templatename, context, doctree) -> None:
    """Style and scripts for the page of the article alone."""
    if pagename == PAGE:
        app.add_css_file("article.css")
        app.add_js_file("article-data.js", loading_method="defer")
        app.add_js_file("article.js", loading_method="defer")


def setup(app):
    app.add_role("fact", fact)
    app.connect("builder-inited", write_data)
    app.connect("html-page-context", own_files)
    return {"parallel_read_safe": False}
