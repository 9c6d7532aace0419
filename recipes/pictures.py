"""The pictures of the documentation, from a real browser: ``python -m recipes.pictures`` (needs Chromium)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import click
import pandas as pd
import pyterrier as pt
from playwright.sync_api import Page, sync_playwright

from pyterrier_xetrieval import Xetrieval, explore, pydocs
from pyterrier_xetrieval.cli.demo import QUERY
from pyterrier_xetrieval.cli.demo_job import Demo
from recipes.command import NEW_FILE, NEW_FOLDER, Command

WIDTH, HEIGHT = 1366, 768
# what the numbers in the picture of a card stand beside; pt_docs/reading.rst says what each is
PARTS = (".ptx-words", ".ptx-say", ".ptx-stack", "tbody tr:nth-child(1) th", "tbody tr:nth-child(1) td", "details summary")
_NUMBER = """([selector, number]) => {
    const place = document.querySelector(".ptx-card " + selector).getBoundingClientRect();
    const badge = document.createElement("b");
    badge.textContent = number;
    badge.style.cssText = `position:absolute;left:${place.left - 26}px;top:${place.top + scrollY}px;width:20px;height:20px;` +
        "border-radius:10px;background:#b3261e;color:#fff;font:bold 12px/20px system-ui;text-align:center";
    document.body.append(badge);
}"""
TEXTS = ("sort a list of words by their length", "Return a new sorted list; a key function may be given.")


@click.command(cls=Command, interrupted="Start again.")
@click.option("--cache", type=NEW_FOLDER, help="Vectors of pydocs.  [default: as the demo's]")
@click.option("--explorer", type=NEW_FILE, default="docs/explorer.png", show_default=True)
@click.option("--card", type=NEW_FILE, default="pyterrier_xetrieval/pt_docs/_static/card.png", show_default=True)
def main(cache: Path | None, explorer: Path, card: Path) -> None:
    """Take the pictures of the explorer and of a card."""
    model = Xetrieval.default()
    index = Demo(pydocs(), model, cache or Path(pt.io.pyterrier_home()) / "xetrieval").index
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        topics = pd.DataFrame({"qid": ["1"], "query": [QUERY]})
        _open(page, explore(index, topics, Path(folder) / "page.html"), "#d=heapq.merge&f=461&s=1628:2")
        page.screenshot(path=explorer)
        model.explain(*TEXTS).to_html(Path(folder) / "card.html")
        _open(page, Path(folder) / "card.html")
        card.parent.mkdir(parents=True, exist_ok=True)
        for number, selector in enumerate(PARTS, 1):
            page.evaluate(_NUMBER, [selector, number])
        box = page.locator(".ptx-card").bounding_box()
        margin = 30  # for the numbers
        clip = {"x": box["x"] - margin, "y": box["y"], "width": box["width"] + margin, "height": box["height"]}
        page.screenshot(path=card, clip=clip)
        browser.close()


def _open(page: Page, file: Path, fragment: str = "") -> None:
    page.goto(file.absolute().as_uri() + fragment)
    page.wait_for_selector("mark")


if __name__ == "__main__":
    main()
