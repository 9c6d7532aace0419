"""The page of a diagnosis: everything is escaped, features link to the explorer, and it fits a phone."""

import re

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import FeatureLabels, Xetrieval, diagnose
from tests.helpers.browser import LAPTOP, PHONE, opened, screenshot
from tests.helpers.builders import identity_sae
from tests.helpers.distracted import DIM, DISTRACTOR, PER_TOPIC, distracted

HOSTILE = '<script>document.title = "hacked"</script> "quotes" \'and\' </style><b>bold</b> &amp; {{ 7 * 7 }} العربية'
LABEL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    _, docs, topics, qrels = distracted()
    table = pd.DataFrame({"feature": range(DIM), "label": [f"{LABEL} {j}" for j in range(DIM)], "method": "test"})
    model = Xetrieval.from_parts(
        internalizers={}, sae=identity_sae(DIM, k=5), labels=FeatureLabels(table, DIM), encoder={"name": "", "dim": DIM}
    )
    docs = [{**doc, "docno": f"<i>{doc['docno']}</i>"} for doc in docs]
    index = model.indexer(folder / "index").index(docs)
    topics, qrels = topics.assign(query=HOSTILE), qrels.assign(docno="<i>" + qrels["docno"] + "</i>")
    found = diagnose(index.retriever(num_results=PER_TOPIC) >> index.explainer(), topics, qrels, index=index)
    return found, found.to_html(folder / "page.html", explorer="explorer.html")


def test_everything_is_escaped_and_nothing_is_a_script(page):
    found, path = page
    html = path.read_text(encoding="utf-8")
    assert "<script" not in html and "<img" not in html and "<b>bold" not in html and "<i>d" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") > 5 and "&lt;i&gt;d" in html and "{{ 7 * 7 }}" in html
    assert re.search(rf'href="explorer\.html#q=\w+&amp;d=[^"&]+&amp;f={DISTRACTOR}"', html) and html.count("<style>") == 2
    assert "http:" not in html and "https:" not in html


def test_the_page_says_what_the_tables_say(page):
    found, path = page
    html = path.read_text(encoding="utf-8")
    row = found.distractors.iloc[0]
    assert f"{100 * row['ndcg']:.1f} → {100 * row['ndcg_held_out']:.1f}" in html and f"{row['lift']:.4f}" in html
    failing = found.queries[found.queries["gap"] > 0]
    assert f"{len(failing) - 20} more are in the table" in html
    assert str(found).splitlines()[0] in html and "Queries, worst first" in html


def test_a_page_without_an_explorer_has_no_links(page, tmp_path):
    assert "href=" not in page[0].to_html(tmp_path / "plain.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("size", "dark"), [(LAPTOP, False), (PHONE, True)])
def test_it_fits_the_window_and_examples_open(page, browser, size, dark):
    with opened(browser, page[1], size=size, dark=dark) as tab:
        assert tab.title() == "What this retriever gets wrong"
        tab.locator("details summary").first.click()
        assert tab.locator("details[open] li").first.inner_text().startswith("wrong result <i>d")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        ground = tab.evaluate("getComputedStyle(document.querySelector('.ptx-card')).backgroundColor")
        assert np.mean([int(n) for n in ground[4:-1].split(",")]) < 60 if dark else ground == "rgb(255, 255, 255)"
        screenshot(tab, f"diagnosis-{size[0]}", full=True)
