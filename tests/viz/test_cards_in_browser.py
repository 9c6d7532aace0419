"""Cards in a real browser: hover and focus, hostile texts, contrast, and what they look like."""

from __future__ import annotations

import re

import pandas as pd
import pytest

import pyterrier_xetrieval as ptx
from pyterrier_xetrieval.viz import Cards
from tests.helpers.browser import LAPTOP, PHONE, opened, screenshot
from tests.helpers.cards import explained

HOSTILE = (
    '<script>document.title = "hacked"</script> "quotes" \'and\' </style></mark><b>bold</b> &amp; {{ 7 * 7 }} $x$ '
    "العربية من اليمين إلى اليسار 👩‍👩‍👧‍👦 rivers"
)
# Rules of JupyterLab for tables in outputs, which a card must outdo
JUPYTER = """<style>.jp-RenderedHTMLCommon table { font-size: 12px; margin-left: auto; table-layout: fixed }
.jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th { text-align: right; white-space: normal; padding: .5em; max-width: none }
.jp-RenderedHTMLCommon tbody tr:nth-child(odd) { background: #f5f5f5 } body { margin: 8px }
.jp-RenderedHTMLCommon tbody tr:hover { background: red }</style>"""
BACKGROUND = """(selector, n) => [...document.querySelectorAll(selector)][n ?? 0] &&
    getComputedStyle([...document.querySelectorAll(selector)][n ?? 0]).backgroundColor"""
CONTRASTS = """() => {
  const channel = c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const ground = element => { for (; element; element = element.parentElement) {
    const found = rgb(getComputedStyle(element).backgroundColor); if (found.length < 4 || found[3]) return found; } return [255, 255, 255]; };
  document.querySelectorAll('details').forEach(e => e.open = true);
  const walker = document.createTreeWalker(document.querySelector('.ptx'), NodeFilter.SHOW_TEXT), found = [];
  for (let node; node = walker.nextNode();) {
    const element = node.parentElement;
    if (!node.data.trim() || ['STYLE'].includes(element.tagName) || element.closest('.ptx-hidden')) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
    found.push([(a + .05) / (b + .05), node.data.trim().slice(0, 40)]);
  }
  return found;
}"""


def in_notebook(*html: str, body: str = "<body>") -> str:
    cells = "".join(f'<div class="jp-RenderedHTMLCommon">{one}</div>' for one in html)
    return f'<!doctype html><meta name="viewport" content="width=device-width">{JUPYTER}{body}<table><tr><td>mine</td></tr></table>{cells}'


def page_of_results() -> Cards:
    found = [explained(place=i) for i in range(3)]
    return ptx.show(pd.DataFrame({"explanation": found, "rank": [0, 1, 2], "query": found[0].evidence.query}))


def marked(tab) -> dict[str, list[str]]:
    """The words on a ground of their own, by its colour."""
    found: dict[str, list[str]] = {}
    for text, ground in tab.eval_on_selector_all(
        "mark", "marks => marks.map(mark => [mark.textContent, getComputedStyle(mark).backgroundColor])"
    ):
        if ground != "rgba(0, 0, 0, 0)":
            found.setdefault(ground, []).append(text)
    return found


def test_a_row_under_the_pointer_shows_its_words_alone(browser):
    with opened(browser, in_notebook(explained()._repr_html_())) as tab:
        everything = marked(tab)
        assert len(everything) == 2 and sum(map(len, everything.values())) == 6  # the second feature's words are all the first's
        tab.hover("tr.f1")
        assert list(marked(tab).values()) == [["list", "list"]]
        tab.hover("tr.f2")
        assert list(marked(tab).values()) == [["rivers", "rivers"]]
        dim = tab.eval_on_selector_all(".ptx-stack i", "all => all.map(i => [i.className, getComputedStyle(i).opacity])")
        assert all((opacity == "1") == ("f2" in kind) for kind, opacity in dim)
        tab.mouse.move(0, 0)
        assert marked(tab) == everything


def test_a_row_in_focus_does_so_until_the_pointer_is_on_another(browser):
    with opened(browser, in_notebook(explained()._repr_html_())) as tab:
        tab.focus("tr.f2")
        assert list(marked(tab).values()) == [["rivers", "rivers"]]
        tab.hover("tr.f1")
        assert list(marked(tab).values()) == [["list", "list"]]


def test_cards_disturb_neither_each_other_nor_the_notebook(browser):
    a, b = explained(), explained(place=1)
    with opened(browser, in_notebook(a._repr_html_(), b._repr_html_(), ptx.show(a, b)._repr_html_())) as tab:
        count = len(sum(marked(tab).values(), []))
        tab.locator(".jp-RenderedHTMLCommon").nth(0).locator("tr.f2").hover()
        assert len(sum(marked(tab).values(), [])) == count - 4
        mine = "document.querySelector('body > table td')"
        assert tab.evaluate(f"getComputedStyle({mine}).fontFamily") == tab.evaluate("getComputedStyle(document.body).fontFamily")
        assert tab.evaluate(f"getComputedStyle({mine}).borderTopWidth") == "0px"
        odd = "getComputedStyle(document.querySelector('tr.f0')).backgroundColor"
        assert tab.evaluate(odd) == "rgba(0, 0, 0, 0)"  # and the notebook not them
        tab.hover("tr.f0")
        assert tab.evaluate(odd) == "rgb(242, 244, 247)"


@pytest.mark.parametrize("filler", ["", " word" * 20_000])
def test_hostile_texts_are_shown_as_text(browser, filler):
    text = HOSTILE + filler
    a, b = (explained(text, text, label=f"{HOSTILE[:110]} {{}}", place=i, carry=[{"rivers"}, {"script", "من"}]) for i in (0, 1))
    a.docno, b.docno, a.qid, b.qid = HOSTILE, "a" * 300, HOSTILE, HOSTILE
    for html in (a._repr_html_(), a.to_html(), ptx.show(a, b)._repr_html_()):
        page = html if html.startswith("<!doctype") else in_notebook(html)
        with opened(browser, page) as tab:
            assert tab.evaluate("document.documentElement.scrollWidth") <= LAPTOP[0]
        with opened(browser, page, size=PHONE) as tab:
            assert tab.title() != "hacked" and tab.locator(".ptx script, .ptx b:not(.ptx-score b)").count() == 0
            shown = [element.text_content() for element in tab.locator(".ptx-words").all()]
            assert len(shown) >= 2 and all(one.strip() == text for one in shown)
            assert tab.locator(".ptx-docno").first.text_content() == HOSTILE
            assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_is_readable(browser, dark):
    a, b = explained(stopped_at=35), explained(place=1)
    b.min_confidence, b._confidence = 0.5, b.contributions * 0.0
    for cards in (ptx.show(a), ptx.show(b), page_of_results(), ptx.show(a, b)):
        with opened(browser, in_notebook(cards._repr_html_()), dark=dark) as tab:
            found = tab.evaluate(CONTRASTS)
            assert len(found) > 20 and min(found)[0] >= 4.5, min(found)
            tab.hover("tbody tr >> nth=1")
            assert min(tab.evaluate(CONTRASTS))[0] >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("body", ['<body class="vscode-{}">', '<body data-jp-theme-light="{}">'], ids=["vscode", "jupyter"])
def test_the_notebook_s_theme_outdoes_the_system_s(browser, body, theme):
    word = theme if "vscode" in body else str(theme == "light").lower()
    page = in_notebook(explained()._repr_html_(), body=body.format(word))
    with opened(browser, page, dark=theme == "light") as tab:
        ground = tab.eval_on_selector(".ptx-card", "card => getComputedStyle(card).backgroundColor")
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(23, 26, 32)"}[theme]


def test_without_styles_the_order_makes_sense(browser):
    bare = re.sub(r"<style>.*?</style>| style=\"[^\"]*\"", "", page_of_results()._repr_html_(), flags=re.S)
    with opened(browser, bare) as tab:
        screenshot(tab, "cards-bare")
        text = tab.inner_text("body")
        places = [
            text.index(word) for word in ("1 d", "sort a list of rivers\nDocument", "Return", "Retrieved", "shared feature")
        ]
        assert places == sorted(places)
        assert tab.locator("mark").count() > 5


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_what_they_look_like(browser, size, dark):
    a, b = explained(), explained(place=1, document="No list of rivers here, " * 40, stopped_at=700)
    cards = {"card": ptx.show(a), "cut": ptx.show(b), "page": page_of_results(), "comparison": ptx.show(a, b)}
    for name, shown in cards.items():
        with opened(browser, in_notebook(shown._repr_html_()), size=size, dark=dark) as tab:
            kind = f"{name}-{'phone' if size == PHONE else 'laptop'}-{'dark' if dark else 'light'}"
            screenshot(tab, f"cards-{kind}", full=True)
            assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]
            if size == LAPTOP:  # the first feature is to be seen without scrolling
                assert tab.locator("tr.f0").first.bounding_box()["y"] < 650
