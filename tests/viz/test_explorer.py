"""The explorer page in a real browser: it does what it shows."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import pyterrier_xetrieval.viz
from pyterrier_xetrieval.cli import main
from pyterrier_xetrieval.viz import to_html
from tests.helpers.browser import LAPTOP, PHONE, number, opened, screenshot
from tests.viz.conftest import DOCUMENTS, QUERIES

WEB = Path(pyterrier_xetrieval.viz.__path__[0]) / "web"


def test_a_row_shows_its_words_alone_and_its_page(page, browser):
    with opened(browser, page) as tab:
        marked = tab.locator(".texts mark")
        before = marked.count()
        assert tab.get_by_role("heading", name="How to read this").is_visible()
        tab.locator(".rows tbody button").first.click()
        label = tab.locator(".rows tr.chosen .label").inner_text()
        assert 0 < marked.count() < before and tab.locator(".feature h2").inner_text().strip() == label
        assert len({mark.get_attribute("class") for mark in marked.all()}) == 1
        assert tab.locator(".examples mark").count() > 1 and tab.locator(".near li").count() == 8
        assert tab.locator(".histogram rect").count() == 12 and "f=" in tab.url
        tab.go_back()
        assert marked.count() == before


def test_a_slider_moves_the_ranking_at_once(page, browser):
    with opened(browser, page) as tab:
        before = tab.locator(".result .docno").all_inner_texts()
        removed = tab.locator(".rows tbody .label").first.inner_text()
        tab.locator(".rows tbody button").first.click()
        tab.get_by_role("slider").fill("0")
        assert tab.locator(".slider output").inner_text() == "× 0.00"
        assert tab.locator(".result .docno").all_inner_texts() != before and tab.locator(".moved").count() > 1
        assert "was" in tab.locator(".score").inner_text() and tab.locator(".rows td:has-text('was')").count() > 0
        assert removed not in tab.locator(".rows tbody .label").all_inner_texts()
        score = tab.locator(".score strong").inner_text()
        parts = [text.split()[-1] for text in tab.locator(".rows td:nth-child(2)").all_inner_texts()]
        rest = [text for text in re.findall(r"[+−]\d\.\d+", tab.locator(".rest summary").inner_text())]
        assert sum(number(text) for text in [*parts, *rest]) == pytest.approx(number(score), abs=0.006)
        tab.get_by_role("button", name="undo all").click()
        assert tab.locator(".result .docno").all_inner_texts() == before and tab.locator(".steering").count() == 0


def test_an_absent_feature_can_be_found_and_added(page, browser):
    with opened(browser, page) as tab:
        tab.get_by_role("button", name="10 more").click()
        before = tab.locator(".result .docno").all_inner_texts()
        tab.get_by_role("searchbox").fill("brewing")  # another feature, of all drinks, says beer too; the document barely has it
        tab.locator(".found button").first.click()
        assert "beer" in tab.locator(".feature h2").inner_text().lower()
        tab.get_by_role("slider").fill("1")
        after = tab.locator(".result .docno").all_inner_texts()
        assert after.index("beer") < before.index("beer")


def test_a_link_opens_what_it_names_and_ignores_what_is_not_there(page, browser):
    with opened(browser, page, fragment="#q=q+2&d=len&f=461") as tab:
        assert tab.locator("h1 select").input_value() == "1" and tab.locator(".explanation h2").inner_text().endswith("len")
        assert "feature 461" in tab.locator(".facts").inner_text()
    with opened(browser, page, fragment="#q=9&d=nothing&f=999999&s=x:y,5:&vs=") as tab:
        assert tab.locator(".explanation h2").inner_text().startswith("1 ")


def test_hostile_text_is_text(page, browser):
    with opened(browser, page, fragment="#q=1&d=hostile") as tab:
        assert tab.locator(".document").inner_text().split() == DOCUMENTS["hostile"].split()
        assert tab.evaluate("window.hacked") is None and tab.locator("h1 option").nth(1).inner_text() == QUERIES["query"][1]


def test_a_hundred_thousand_characters_and_half_a_pair(tmp_path, browser, explained):
    long = explained[explained["docno"] == "sorted"]
    long = long.assign(text="sorted lists </script> " + "x " * 50_000).drop(columns="explanation")
    path = to_html(long, tmp_path / "long.html", about={"notes": {"half": "\ud83d"}})
    with opened(browser, path) as tab:
        assert "more characters, not in this page" in tab.locator(".document").inner_text()
        assert "The encoder has read the first" in tab.locator(".texts").inner_text()
        assert tab.evaluate("document.documentElement.scrollWidth") <= LAPTOP[0]


@pytest.mark.parametrize("size, name", [(LAPTOP, "laptop"), (PHONE, "phone")])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_the_screen(page, browser, size, name, dark):
    for fragment, what in (("", "explanation"), ("#d=sorted&f=461", "feature"), ("#d=sorted&vs=list.sort", "comparison")):
        with opened(browser, page, size=size, dark=dark, fragment=fragment) as tab:
            tab.wait_for_selector("article")
            screenshot(tab, f"explorer-{what}-{name}-{'dark' if dark else 'light'}", full=name == "phone")
            assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]
            first = tab.locator(".rows tbody tr").first.bounding_box()
            assert first["x"] >= 0 and first["x"] + first["width"] <= size[0]
            assert name == "phone" or first["y"] + first["height"] < 400
            assert tab.evaluate(CONTRAST) == []


# Every text's colour against the ground behind it: WCAG's 4.5 to 1.
CONTRAST = """() => {
    const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = channels(colour).slice(0, 3).map((c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor;
            if (channels(colour)[3] !== 0) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const wrong = [];
    const walker = document.createTreeWalker(document.getElementById("app"), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || node.closest(".hidden, option")) continue;
        const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) wrong.push([walker.currentNode.data, (a + 0.05) / (b + 0.05)]);
    }
    return wrong;
}"""


def test_the_keyboard_does_it_all(page, browser):
    with opened(browser, page) as tab:
        tab.locator("button.result").first.focus()
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("Enter")
        assert tab.locator(".explanation h2").inner_text().startswith("2 ")
        tab.locator(".rows tbody button").first.focus()
        tab.keyboard.press("Enter")
        tab.get_by_role("slider").focus()
        tab.keyboard.press("ArrowRight")
        assert tab.locator(".slider output").inner_text() == "× 1.05"
        tab.get_by_role("searchbox").focus()
        tab.keyboard.type("list")
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("Enter")
        assert "list" in tab.locator(".feature h2").inner_text().lower()


def test_the_command_writes_the_page(tmp_path, small_index, browser):
    (tmp_path / "topics.tsv").write_text("7\tsort a list\n\nwait for a thread\n")
    done = CliRunner().invoke(
        main, ["explore", str(small_index.path), "--topics", str(tmp_path / "topics.tsv"), "--query", "beer", "-o", str(tmp_path / "x.html"),
               "--documents", "30"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    with opened(browser, tmp_path / "x.html") as tab:
        assert tab.locator("h1 option").all_inner_texts() == ["sort a list", "wait for a thread", "beer"]
        assert tab.evaluate("xetrieval.page.queries.qids") == ["7", "2", "3"]


def test_the_command_refuses_what_says_nothing(tmp_path, small_index):
    for arguments in ([], ["--query", " "]):
        done = CliRunner().invoke(main, ["explore", str(small_index.path), "-o", str(tmp_path / "x.html"), *arguments])
        assert done.exit_code == 2 and not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("change, message", [
    (lambda r: r.iloc[:0], "at least one result"),
    (lambda r: r.drop(columns="doc_vec"), "VectorLoader"),
    (lambda r: r.drop(columns="text"), "text_loader"),
    (lambda r: r.assign(explanation="why"), "found str"),
    (lambda r: pd.concat([r, r.assign(text="another")]), "one text and one vector"),
    (lambda r: r.assign(query_vec=list(np.eye(len(r), 384, dtype=np.float32))), "one query_vec for each query"),
])  # fmt: skip
def test_bad_results_are_refused_with_the_cure(tmp_path, explained, change, message):
    with pytest.raises(ValueError, match=message):
        to_html(change(explained), tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_an_index_gives_what_the_frame_lacks(tmp_path, explained, small_index, browser):
    lean = explained.drop(columns=["doc_vec", "text"])
    path = to_html(lean, tmp_path / "x.html", index=small_index, about={"title": "Why?", "notes": {"from": "a test <b>"}})
    with opened(browser, path, fragment="#view=about") as tab:
        assert tab.title() == "Why?" and "a test <b>" in tab.locator("dl").inner_text()


def test_results_ranked_by_another_score_say_so(tmp_path, explained, small_index, browser):
    model = small_index.model
    frame = explained.drop(columns="explanation").assign(score=lambda r: -r["rank"].astype(float) * 10)
    other = (model.internalizer() >> model.explainer())(frame)
    with opened(browser, to_html(other, tmp_path / "x.html")) as tab:
        assert "ranked by another score" in tab.locator(".how").inner_text()


@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm on this machine")
def test_the_bundle_is_built_from_the_sources(tmp_path):
    shutil.copytree(WEB, tmp_path / "web", ignore=shutil.ignore_patterns("node_modules", "explorer.js"))
    for command in (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
        done = subprocess.run(command, cwd=tmp_path / "web", capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "web" / "explorer.js").read_bytes() == (WEB / "explorer.js").read_bytes()
    assert (WEB / "LICENSE-preact.txt").read_bytes() == (tmp_path / "web" / "node_modules" / "preact" / "LICENSE").read_bytes()
