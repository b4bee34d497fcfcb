"""The paper's findings on networks that others trained: the numbers, what is kept, and the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from fxscope import models, prepare
from fxscope.errors import ImageError, WeightsError
from fxscope.images.preprocess import Preprocess
from fxscope.paper import findings
from fxscope.paper.findings import Kept, Network, findings_of, judge, kept, measure, photographs
from fxscope.paper.findings import __main__ as command
from fxscope.paper.findings.claims import Spread, spread_of_layers
from fxscope.paper.findings.longer import KEPT
from fxscope.paper.findings.measures import bands, of_images, of_scores
from fxscope.paper.findings.page import page, write_docs
from fxscope.paper.findings.photographs import crops, views
from fxscope.paper.findings.run import CRITIC, ERROR, LABELS, NETWORKS, read

DOCS = Path(__file__).parent.parent / "docs"


def stand_in(name, kind, trained, policies=("freeze",)):
    return Network(name, kind, trained, policies, lambda: models.build(name).double())


DIGITS = stand_in("digits_vgg_bn", "scores", LABELS)
UPSCALER = stand_in("pixelshuffle4x", "images", ERROR)
TEXT = [p for p in photographs() if p.name in ("text", "page")]


@pytest.fixture(scope="module")
def measured():
    """Two photographs, two crops of each, on two small trained stand-ins."""
    return {n: measure(n, TEXT, progress=False) for n in (DIGITS, UPSCALER)}


def test_there_are_twenty_photographs_or_more():
    found = photographs()
    assert len({p.name for p in found}) == len({p.digest() for p in found}) == len(found) >= 20
    for photograph in found:
        x0 = crops(photograph.picture())
        assert x0.shape == (2, 3, 48, 48) and not torch.equal(*x0)


def test_a_missing_photograph_is_named(monkeypatch):
    monkeypatch.setitem(findings.photographs.__globals__["FILES"], "no_such", ("data", ("x.png",), "no-such"))
    with pytest.raises(ImageError, match="pip install no-such"):
        photographs()


def test_the_parts_sum_to_the_whole(measured):
    """F x0 and the layers to the score, also after the attack; F x0 + r to every output."""
    for lines in measured.values():
        assert [line["photograph"] for line in lines] == [p.name for p in TEXT]
        assert all(line["error"] < 1e-9 for line in lines)
    for line in measured[DIGITS]:
        for part, score in (("before", "score"), ("after", "score_after")):
            assert abs(sum(line[part]) - 1) < 1e-4  # six digits are kept of every number
            assert abs(sum(line[f"values_{part}"]) / line[score] - 1) < 1e-4
        assert abs(sum(line["before"][1:]) - line["share"]) < 1e-4
        assert len(line["layers"]) == len(line["before"]) and 1 <= line["epsilon"] <= 8
    for line in measured[UPSCALER]:
        assert abs(line["low"] + line["middle"] + line["high"] - 1) < 1e-4
        assert line["radius_50"] <= line["radius_90"] <= line["radius_99"] <= 5  # the field has 11 pixels
        assert line["area"] / 1024 == pytest.approx(line["participation"], rel=1e-4)


def test_shares_about_another_zero():
    """Against the bias of a linear network: its score is <w, x0 - z> + (b + <w, z>)."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 4)).double()
    given = Preprocess(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5))
    pixels = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    x0 = torch.cat([given(p) for p in pixels])
    found = of_scores(prepare(model, x0), given, x0)
    y = model(x0).detach()
    k = y.argmax(1)
    weight, bias = model[1].weight.detach()[k].reshape(x0.shape), model[1].bias.detach()[k]
    black = torch.tensor([-0.4 / 0.2, -0.5 / 0.25, -0.6 / 0.5], dtype=torch.float64)[:, None, None]
    means = x0.mean((2, 3), keepdim=True)
    for name, z in (("share", 0 * x0), ("share_black", black), ("share_mean", means)):
        share = (bias + (weight * z).flatten(1).sum(1)) / y.gather(1, k[:, None])[:, 0]
        assert found[name] == pytest.approx(float(share.mean()), rel=1e-9), name
    assert found["depth"] == 0 and found["gap_8"] < 1e-12 and found["changed_8"] == 0


def test_a_residual_is_measured_beside_the_output():
    """A convolution with a bias alone: r is that bias everywhere, and a row reaches one pixel."""
    model = torch.nn.Conv2d(3, 3, 3, padding=1, dtype=torch.float64)
    x0 = torch.rand(2, 3, 48, 48, dtype=torch.float64)
    found = of_images(prepare(model, x0[:1]), Preprocess(), x0, eigen=False)
    y = model(x0).detach()
    r = model.bias.detach()[:, None, None].expand(3, 48, 48)
    norm, size = (
        sum(float(f(r) / f(one)) for one in y) / 2 for f in (torch.Tensor.norm, lambda t: t.abs().sum())
    )
    assert found["norm"] == pytest.approx(norm, rel=1e-9) and found["pixel"] == pytest.approx(size, rel=1e-9)
    assert found["radius_99"] == 1 and found["error"] < 1e-12 and "area" not in found


def test_bands():
    """A wave lies in the band of its frequency; one pixel has the spectrum of white noise."""
    at = torch.arange(32, dtype=torch.float64)
    for cycles, band in ((2, 0), (8, 1), (14, 2)):
        wave = torch.cos(2 * torch.pi * cycles * at / 32).expand(3, 32, 32)
        assert bands(wave)[band] == pytest.approx(1)
    pixel = torch.zeros(1, 32, 32)
    pixel[0, 3, 4] = 1
    assert bands(pixel).sum() == pytest.approx(1) and float(bands(pixel)[2]) == pytest.approx(0.57, abs=0.005)


def test_spreads_are_of_photographs():
    lines = [{"a": v, "layers": [v, 2 * v]} for v in (1.0, 2.0, 6.0)]
    spread = Spread.of([*lines, {"layers": []}], "a")
    assert (spread.mean, spread.count) == (3, 3) and spread.std == pytest.approx((14 / 3) ** 0.5)
    value, error = spread_of_layers(lines, "layers")
    assert value == pytest.approx((5 / 2 * 14 / 3) ** 0.5)
    left = [(5 / 2) ** 0.5 * abs(a - b) / 2 for a, b in ((2, 6), (1, 6), (1, 2))]
    assert error == pytest.approx((2 / 3 * sum((v - sum(left) / 3) ** 2 for v in left)) ** 0.5)


def test_a_verdict_is_taken_again_on_redraws():
    """Clear means decide, a mean at the bound does not, and networks that saw the same images are paired."""
    noise = torch.randn(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = noise - noise.mean()
    base = (10 * noise).tolist()

    def above(bound):
        return lambda drawn: all(sum(v) / len(v) > bound for v in drawn.values())

    for mean, appears in ((5.0, True), (-5.0, False), (0.05, None)):
        found = judge({"a": (mean + noise).tolist()}, above(0))
        assert found.appears is appears and found == judge({"a": (mean + noise).tolist()}, above(0))
        assert f"{found.held} of 400 redraws of the 12 photographs" in found.why
    assert judge({"a": [5.0] * 12, "b": [-5.0] * 12}, above(0)).appears is False
    few = judge({"a": [5.0] * 12, "b": [5.0] * 4}, above(0), "digits")
    assert few.appears is None and "4 digits decide nothing" in few.why

    def larger(drawn):
        return sum(drawn["b"]) > sum(drawn["a"])

    paired = {"a": base, "b": [v + 1 for v in base]}  # far less than the spread, and on every photograph
    assert judge(paired, larger).appears is True
    apart = {"a": base, "b": [v + 1 for v in base[::-1]] + [1.0]}
    assert judge(apart, larger).appears is None


def test_the_longer_study_is_that_of_the_kept_lines():
    """What the package ships is what the lines of the docs say, and a page finds it by the claim."""
    lines = {n: read(DOCS / "findings" / f"{name}.jsonl") for name, n in NETWORKS.items()}
    assert Kept.of(lines).to_json() == KEPT.read_text(encoding="utf-8")
    assert list(kept().findings.values()) == findings_of(lines) and kept().photographs >= 20
    assert {f.appears for f in kept().findings.values()} == {True, False, None}


def test_views_of_a_classifier():
    given, picture = Preprocess.of("fxscope:efficientnet_lite0"), photographs()[0].picture()
    x0 = views(given, picture)
    assert x0.shape == (2, 3, 224, 224) and torch.equal(x0[:1], given(picture))


@pytest.mark.full
def test_a_stopped_run_goes_on(tmp_path, monkeypatch):
    """What is finished is not measured again, and a change of the weights or the bytes measures it anew."""
    path, made = tmp_path / "kept.jsonl", []
    real = measure.__globals__["_numbers"]

    def numbers(network, readers, preprocess, photograph, eigen):
        made.append(photograph.name)
        if len(made) == 2:
            raise KeyboardInterrupt
        return real(network, readers, preprocess, photograph, False)

    monkeypatch.setitem(measure.__globals__, "_numbers", numbers)
    with pytest.raises(KeyboardInterrupt):
        measure(UPSCALER, TEXT, path, progress=False)
    assert [line["photograph"] for line in read(path)] == [TEXT[0].name]
    lines = measure(UPSCALER, TEXT, path, progress=False)
    assert made == [TEXT[0].name, TEXT[1].name, TEXT[1].name] and read(path) == lines
    other = tmp_path / "other.png"
    other.write_bytes(TEXT[0].path.read_bytes() + b"\0")
    changed = findings.Photograph(TEXT[0].name, "here", other)
    measure(UPSCALER, [changed, TEXT[1]], path, progress=False)
    assert made[3:] == [TEXT[0].name] and len(read(path)) == 2

    def scaled():
        model = models.build("pixelshuffle4x").double()
        with torch.no_grad():
            next(model.parameters()).mul_(1.5)
        return model

    measure(Network(UPSCALER.name, "images", ERROR, build=scaled), TEXT[:1], path, progress=False)
    assert made[4:] == [TEXT[0].name]


def test_findings_say_what_was_measured(measured):
    """Both kinds of networks; with one that was trained against a critic the two are compared."""
    assert {f.appears for f in findings_of(measured)} == {None}  # two photographs decide nothing
    measured = {n: [*lines, *lines, *lines] for n, lines in measured.items()}
    found = findings_of(measured)
    assert {f.network for f in found} == {DIGITS.name, UPSCALER.name}
    shares = [line["share"] for line in measured[DIGITS]]
    share = sum(shares) / 6
    first = found[0]
    assert first.appears in (share > 0.5, None) and f"{100 * share:.0f} ± " in first.measured
    assert first.appears is not None or min(shares) < 0.5 < max(shares)
    norm = sum(line["norm"] for line in measured[UPSCALER]) / 6
    small = next(f for f in found if f.claim.startswith("Residuals of super-resolution"))
    assert small.appears == (norm < 0.1)
    critic = Network("other", "images", CRITIC)
    for factor in (0.5, 2):
        lines = [line | {"norm": factor * line["norm"]} for line in measured[UPSCALER]]
        larger = next(f for f in findings_of({**measured, critic: lines}) if "critic have larger" in f.claim)
        assert larger.appears == (factor > 1)


def test_the_page(measured):
    text = page(measured)
    for n, lines in measured.items():
        assert f"`{n.name}` | freeze | {len(lines)} |" in text.replace(f" {n.trained} |", "")
    assert "`text`" not in text and "scikit-image (2): page, text" in text
    assert "nan" not in text and all(f.claim in text for f in findings_of(measured))
    widths = [len(line.split(" | ")) for line in text.splitlines() if line.startswith("| ")]
    assert len(widths) > 20


def test_the_page_of_the_docs_is_that_of_the_kept_lines(tmp_path):
    shutil.copytree(DOCS / "findings", tmp_path / "findings")
    assert write_docs(tmp_path / "findings").read_text() == (DOCS / "findings.md").read_text()


@pytest.mark.parametrize("path", sorted((DOCS / "findings").glob("*.jsonl")), ids=lambda path: path.stem)
def test_kept_lines(path):
    network, lines = NETWORKS[path.stem], read(path)
    expected = [(policy, p.name) for policy in network.policies for p in photographs()]
    assert [(line["policy"], line["photograph"]) for line in lines] == expected
    assert all(line["error"] < 1e-3 for line in lines)


def test_command(tmp_path, monkeypatch, capsys):
    """A network whose package is missing is named, and the others are measured; Ctrl-C ends it quietly."""
    monkeypatch.setattr(command, "photographs", lambda: TEXT[:1])
    lacking = Network("span2x", "images", ERROR, build=_missing)
    monkeypatch.setattr(command, "NETWORKS", {"span2x": lacking, "pixelshuffle4x": UPSCALER})
    monkeypatch.setitem(write_docs.__globals__, "NETWORKS", {"pixelshuffle4x": UPSCALER})
    folder = tmp_path / "kept"
    assert command.main(["--json", str(folder), "--write-docs"]) == 1
    said = capsys.readouterr()
    assert "span2x: not here" in said.err and "pixelshuffle4x: 1 lines" in said.out
    assert json.loads((folder / "pixelshuffle4x.jsonl").read_text())["photograph"] == TEXT[0].name
    assert "pixelshuffle4x" in (tmp_path / "kept.md").read_text()
    assert command.main(["--network", "no_such"]) == 2
    monkeypatch.setattr(command, "measure", _stopped)
    assert command.main(["--json", str(folder)]) == 130
    assert "finished lines are kept" in capsys.readouterr().err


def _missing():
    raise WeightsError("not here")


def _stopped(*arguments):
    raise KeyboardInterrupt
