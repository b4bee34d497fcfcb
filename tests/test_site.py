"""The built site.

Nothing from outside, every picture drawn, and pages that a browser opens without an error.
"""

from __future__ import annotations

import html.parser
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SITE = Path(os.environ.get("FXSCOPE_SITE", ROOT / "docs" / "_build" / "html"))

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def site() -> Path:
    """The site: the one of FXSCOPE_SITE where that is there, or as the one command builds it."""
    if "FXSCOPE_SITE" in os.environ and (SITE / "searchindex.js").exists():
        return SITE
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-n", "-W", "docs", str(SITE)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return SITE


class Assets(html.parser.HTMLParser):
    """What a page fetches, and its links within the site."""

    def __init__(self):
        super().__init__()
        self.fetched, self.links, self.ids = [], [], set()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.add(given.get("id"))
        self.fetched += [given[k] for k in ("src", "srcset", "poster", "data") if given.get(k)]
        if tag in ("link", "image", "use") and given.get("rel") not in (
            "index",
            "search",
            "next",
            "prev",
            "canonical",
        ):
            self.fetched += [given[k] for k in ("href", "xlink:href") if given.get(k)]
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])


def read(page: Path) -> Assets:
    assets = Assets()
    assets.feed(page.read_text(encoding="utf-8"))
    return assets


def pages(site: Path) -> list[Path]:
    return sorted(p for p in site.rglob("*.html") if "_static" not in p.parts)


def test_nothing_comes_from_outside(site):
    outside = [
        (p.name, url) for p in pages(site) for url in read(p).fetched if re.match(r"(https?:)?//", url)
    ]
    assert not outside
    for sheet in [*site.rglob("*.css"), *pages(site)]:
        assert not re.search(
            r"(url\(\s*['\"]?|@import\s+['\"]?)(https?:)?//", sheet.read_text(encoding="utf-8")
        ), sheet.name


def test_every_asset_is_there(site):
    for page in pages(site):
        for url in read(page).fetched:
            path = url.partition("?")[0].partition("#")[0]
            assert not path or path.startswith("data:") or (page.parent / path).exists(), (page.name, url)


def test_every_picture_is_there(site):
    for page in sorted((site / "graphs").glob("*.html")):
        if page.stem != "index":
            text = page.read_text(encoding="utf-8")
            assert (
                text.count('class="fxscope-drawing"') >= 4
                and len(re.findall('<input type="radio" name="tabs', text)) == 4
            ), page.name
            strip = re.search('<div class="fxscope-side">(.*?)</div>', text, re.S)[1]
            assert (
                re.findall("<span>(.*?)</span>", strip) == ["traced", "pair", "filter", "adjoint"]
                and strip.count("<svg") == strip.count("<label") == 4
            ), page.name
            assert re.search("<path class=.freeze (mask|gate|stats|index)", text), page.name


def test_every_rule_has_a_card(site):
    from docutils.nodes import make_id

    from fxscope.rules import registry

    text = "".join(p.read_text(encoding="utf-8") for p in (site / "rules" / "cards").glob("*.html"))
    own = registry.__wrapped__().rules  # without what other tests of this process have registered
    for name in own:
        assert f'id="{make_id(f"rule-{name}")}"' in text, name
    assert text.count("class='laws'") == sum(bool(rule.samples) for rule in own.values())


def test_clicks_lead_to_cards(site):
    for page in pages(site):
        assets = read(page)
        missing = [
            link
            for link in assets.links
            if link.endswith("-card") and link.startswith("#") and link[1:] not in assets.ids
        ]
        assert not missing, (page.name, missing[:3])


def test_links_lead_to_places_that_are_there(site):
    """Pages and the places in them, from source files back to the API and from graphs to cards, too."""
    found = {p.resolve(): read(p) for p in pages(site)}
    missing = []
    for page, assets in found.items():
        data = re.findall(r"&quot;(\.[^&]*\.html#[^&]*)&quot;", page.read_text(encoding="utf-8"))
        for link in [*assets.links, *data]:
            path, _, place = link.partition("#")
            target = (page.parent / path.partition("?")[0]).resolve() if path else page
            if ":" in path or place in ("", "!") or target not in found:
                continue
            if urllib.parse.unquote(place) not in found[target].ids:
                missing.append((page.name, link))
    assert not missing


def test_instance_norm_in_three_clicks(site):
    assert "graphs/index.html" in read(site / "index.html").links
    assert "instance-norm.html" in read(site / "graphs" / "index.html").links
    assert any(
        link.startswith("../rules/cards/normalize.html")
        for link in read(site / "graphs" / "instance-norm.html").links
    )


OPENED = (
    "index",
    "article",
    "getting-started",
    "graphs/instance-norm",
    "rules/cards/mask",
    "laws",
    "paper/reading",
    "gallery/index",
)


@pytest.mark.parametrize("name", OPENED)
def test_a_browser_opens_it(site, name, tmp_path):
    browser = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)
    assert browser, "needs chromium: apt-get install -y chromium"
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}",
        "--virtual-time-budget=5000",
        "--dump-dom",
    ]
    done = subprocess.run(
        [*command, (site / f"{name}.html").as_uri()], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "</html>" in done.stdout
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not said
