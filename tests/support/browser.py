# SPDX-License-Identifier: Apache-2.0
"""A real Chromium without a window, for tests of pages: WebGL drawn by the processor."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--no-sandbox",  # Chromium refuses to run as root with it
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the installed Chromium, or skip the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        pytest.skip(f"no Chromium on the PATH: looked for {', '.join(_NAMES)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=executable, headless=True, args=list(_ARGUMENTS)
        )
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page opened from disk, and what it complained of or asked a network for.

    errors : messages of the console at level error or warning, and uncaught exceptions.
    requests : addresses asked for, other than the file itself, data: and blob:.
    """

    def __init__(
        self,
        browser: Browser,
        path: Path,
        width: int = 1280,
        height: int = 800,
        scheme: str = "light",
    ) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda problem: self.errors.append(str(problem)))
        self.page.on("request", lambda request: self._asked(request.url, path.as_uri()))
        self.page.goto(path.as_uri())

    def until(self, expression: str, seconds: float = 10.0) -> None:
        """Wait until a JavaScript expression holds (playwright's own way needs eval, which a
        page may forbid)."""
        deadline = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            self.page.wait_for_timeout(20)

    def _heard(self, message: object) -> None:
        kind, text = getattr(message, "type", ""), getattr(message, "text", "")
        if kind in ("error", "warning") and "GPU stall due to ReadPixels" not in text:
            self.errors.append(text)

    def _asked(self, address: str, own: str) -> None:
        if address != own and not address.startswith(("data:", "blob:")):
            self.requests.append(address)
