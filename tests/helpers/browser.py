"""Pages in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

LAPTOP, PHONE = (1366, 768), (390, 844)
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS", "screenshots"))  # artefacts of a run, to be looked at
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped where there is none (Debian: ``apt-get install chromium``)."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Any, page: Path | str, *, size: tuple[int, int] = LAPTOP, dark: bool = False, fragment: str = ""
) -> Iterator[Any]:
    """A page, from a file or from HTML; fails if the page reports an error or asks for anything from elsewhere."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    tab, wrong = context.new_page(), []
    tab.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: None if request.url.startswith(("file:", "data:", "about:")) else wrong.append(request.url))
    if isinstance(page, Path):
        tab.goto(page.absolute().as_uri() + fragment)
    else:
        tab.set_content(page)
    yield tab
    context.close()
    assert not wrong, wrong


def screenshot(tab: Any, name: str, *, full: bool = False) -> Path:
    """Keeps a picture of the page as ``screenshots/NAME.png``."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    tab.screenshot(path=str(path), full_page=full)
    return path


def number(text: str) -> float:
    """The number that a page shows, with its own minus."""
    return float(text.replace("−", "-").replace("+", "").split()[0])
