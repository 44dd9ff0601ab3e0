"""Debian's Chromium without a head and without a network, for tests and for pictures."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CANDIDATES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WITHOUT = "No Chromium on this machine: the tear sheet was NOT looked at in a browser"


def executable() -> str | None:
    """Where Chromium is, or None."""
    return next((found for name in CANDIDATES if (found := shutil.which(name))), None)


def chromium_or_skip() -> str:
    """Where Chromium is; without one the test is skipped, loudly, and fails in CI."""
    found = executable()
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{WITHOUT}. CI must have it: apt-get install -y chromium")
    if found is None:
        pytest.skip(f"{WITHOUT}. Mend: apt-get install -y chromium")
    return found


@contextmanager
def browser(chromium: str) -> Iterator[Any]:
    """Run a Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield running
        running.close()


@contextmanager
def opened(running: Any, file: Path, width: int = 1440, **context: Any) -> Iterator[Any]:
    """Open a file in a new context of a browser and yield its page once all is drawn.

    The page gets two attributes: ``complaints``, what the console and uncaught errors said, and
    ``asked``, every address it asked for; all but the file itself is refused.
    """
    own = running.new_context(viewport={"width": width, "height": 1000}, **context)
    page = own.new_page()
    page.complaints, page.asked = [], []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "console",
        lambda m: page.complaints.append(m.text) if m.type in ("error", "warning") else None,
    )

    def refuse_all_but_the_file(route: Any) -> None:
        address = route.request.url
        if address == file.as_uri() or address.startswith(("data:", "blob:")):
            route.continue_()
            return
        page.asked.append(address)
        route.abort()

    page.route("**/*", refuse_all_but_the_file)
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-drawn=yes]", timeout=60_000, state="attached")
    yield page
    own.close()
