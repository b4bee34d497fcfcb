"""Tokens of a language model in the page, in Chromium: what each embedding adds to a logit."""

from __future__ import annotations

import re

import pytest
import torch
from chromium import CHROMIUM
from torch import nn

import fxscope
from fxscope.errors import WrongArgument

browses = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
WORDS = ["the", "cat", "sat", "on", "the", "mat"]
VOCABULARY = [chr(97 + i) for i in range(20)]
SHOWN = "() => fxscope.cards.every((c) => c.turn === c.shown && c.r)"
SAID = """() => {
    const [card] = fxscope.cards, { at, probe } = card.filter;
    const scores = Array.from(card.scores.column || card.scores.y0), shares = Array.from(card.shares());
    return { at, probe, shares, scores, law: card.measured(), said: card.law.textContent };
}"""


class Language(nn.Module):
    """A transformer of one block, with positions, biases and a causal mask."""

    def __init__(self, last: bool = False) -> None:
        super().__init__()
        self.last = last
        self.embedding, self.positions = nn.Embedding(20, 8), nn.Parameter(torch.randn(6, 8))
        self.norm, self.mixed, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.mlp, self.head = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)), nn.Linear(8, 20)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        x = self.embedding(numbers) + self.positions
        q, k, v = self.mixed(self.norm(x)).chunk(3, -1)
        x = x + self.out(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))
        y = self.head(x + self.mlp(x))
        return y[:, -1] if self.last else y


def interpreted(last: bool = False):
    torch.manual_seed(0)
    return fxscope.interpret(Language(last).eval(), torch.tensor([[3, 7, 1, 12, 3, 9]]))


def near(found: list[float], own: torch.Tensor) -> bool:
    return bool((torch.tensor(found) - own).abs().max() <= 1e-5 * own.abs().max() and own.abs().max() > 0)


def opened(browser, lin, path):
    lin.page(path, tokens=WORDS, labels=VOCABULARY, names=["language"])
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    return page


def shown(page) -> dict:
    page.wait_for_function(SHOWN, timeout=60_000)
    return page.evaluate(SAID)


@browses
def test_what_the_embedding_of_each_token_adds(browser, tmp_path):
    lin = interpreted()
    page = opened(browser, lin, tmp_path / "page.html")
    first = shown(page)  # the largest logit after the last token
    label = int(lin.y0[0, -1].argmax())
    parts = lin.contributions((-1, label))
    assert first["at"] == [5, label] and near(first["shares"], parts.by_token()[0])
    assert abs(sum(first["shares"]) + first["law"]["r"] - float(lin.y0[0, -1, label])) <= 1e-5
    assert "holds" in first["said"]
    page.locator('[data-token="2"]').hover()
    page.locator('button[data-label="4"], .scores .read').first.click()
    other = shown(page)["at"][1]
    page.locator(".scores .minus:enabled").nth(2).click()
    found = shown(page)
    _, _, minus = found["at"]
    assert found["at"][:2] == [2, other]
    assert near(found["shares"], lin.contributions({(2, other): 1.0, (2, minus): -1.0}).by_token()[0])
    assert found["shares"][3:] == [0, 0, 0]  # a causal mask
    exec(python(page), {"model": lin.model, "x0": lin.x0}, names := {})
    assert near(
        names["row"].flatten().tolist(),
        torch.tensor(page.evaluate("Array.from(fxscope.cards[0].filter.values)")),
    )
    page.keyboard.press("ArrowRight")
    assert shown(page)["at"] == [3, other, minus]
    page.keyboard.press("c")
    column = shown(page)
    exec(python(page), {"model": lin.model, "x0": lin.x0}, names)
    own = names["column"]
    assert near(column["shares"], own[:, other] - own[:, minus]) and near(column["scores"], own[-1])
    assert page.evaluate("document.documentElement.scrollWidth") == 1000 and page.wrong == []
    page.close()


def python(page) -> str:
    """The lines that the page saves."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Python").click()
    text = download.value.path().read_text()
    assert re.search(r"# (row|column) of F for .* token \d “\w+”", text)
    return text


@pytest.mark.full
@browses
def test_a_model_of_the_last_token_alone(browser, tmp_path):
    lin = interpreted(last=True)
    page = opened(browser, lin, tmp_path / "page.html")
    label = int(lin.y0[0].argmax())
    assert near(shown(page)["shares"], lin.contributions(label).by_token()[0])
    page.keyboard.press("c")
    column = lin.F @ (lin.x[0] * (torch.arange(6) == 5)[:, None])
    assert near(shown(page)["scores"], column)
    page.close()


def test_tokens_have_as_many_names_as_numbers(tmp_path):
    with pytest.raises(WrongArgument, match="2 tokens, and language takes 6"):
        interpreted().page(tmp_path / "page.html", tokens=["a", "b"], names=["language"])
    with pytest.raises(WrongArgument, match="3 labels, and language gives 20"):
        interpreted().page(tmp_path / "page.html", labels=["a", "b", "c"], names=["language"])
    with pytest.raises(WrongArgument, match="tokens is a list of names"):
        interpreted().page(tmp_path / "page.html", tokens=[1])
