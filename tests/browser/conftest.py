"""
A real browser: Debian's Chromium, driven by Playwright, which downloads none of its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
Opener = Callable[..., Page]


def is_trouble(message: ConsoleMessage) -> bool:
    """
    Whether a page has said something, but for what a test's own look at its pixels makes the browser say.
    """
    return "getImageData" not in message.text


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """
    Chromium is here; where CI lacks it, that is a failure.
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Chromium")
        pytest.skip("Chromium is not installed: apt install chromium")
    with sync_playwright() as playwright:
        # Root, as in a container, has no sandbox; and /dev/shm may be small there.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Opener]:
    """
    Opens a report; at the end, none has said anything on its console or asked anything of a network.
    """
    troubles: list[str] = []
    contexts = []

    def open_(path: Path, width: int = 1280, height: int = 900, address: str = "", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(f"console: {message.text}") if is_trouble(message) else None)
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        url = f"{path.as_uri()}{address}"
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(path.as_uri()) else troubles.append(f"request: {request.url}")
            ),
        )
        page.goto(url)
        page.wait_for_selector("html[data-ready=yes]", state="attached")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [] == troubles
