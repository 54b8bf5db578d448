"""A real headless Chromium for tests of pages; tests that need one are skipped where none is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
DESKTOP: dict[str, Any] = {"viewport": {"width": 1360, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
WAIT_MS = 60_000
# ^ Generous: the machine that runs the tests may be busy.


def chromium() -> str:
    """Path of a Chromium, or skip the test (``STVC_CHROMIUM`` names one elsewhere)."""
    named = os.environ.get("STVC_CHROMIUM")
    found = named or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no Chromium found (looked for {', '.join(NAMES)}; apt install chromium)")
    return found


@contextmanager
def started() -> Iterator[Any]:
    """A browser of playwright's that is closed afterwards."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: pip install 'stvc[browser]'"
    )
    # Chromium refuses its sandbox to root, which tests in containers often run as.
    flags = [*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=flags)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page that is open, and everything it did that it should not."""

    page: Any
    problems: list[str] = field(default_factory=list)
    """Console errors and warnings, exceptions, dialogs."""
    requests: list[str] = field(default_factory=list)
    """Everything it asked for that is no ``data:`` URL."""

    def snapshot(self, folder: Path, name: str, *, whole: bool = True) -> Path:
        """Take a screenshot, also into ``STVC_SCREENSHOTS`` if that names a folder."""
        path = folder / f"{name}.png"
        self.page.screenshot(path=path, full_page=whole)
        keep = os.environ.get("STVC_SCREENSHOTS")
        if keep:
            Path(keep).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, Path(keep) / path.name)
        return path


@contextmanager
def visit(browser: Any, path: Path, **context: Any) -> Iterator[Visit]:
    """Open a local file in a fresh context.

    Parameters
    ----------
    browser : playwright Browser
    path : Path
    **context
        Of playwright's ``new_context``: viewport, color_scheme, reduced_motion, ...
    """
    opened = browser.new_context(**{**DESKTOP, **context})
    opened.set_default_timeout(WAIT_MS)
    page = opened.new_page()
    seen = Visit(page)
    page.on(
        "console",
        lambda said: said.type in ("error", "warning") and seen.problems.append(said.text),
    )
    page.on("pageerror", lambda error: seen.problems.append(str(error)))
    page.on("dialog", lambda dialog: (seen.problems.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda r: r.url.startswith("data:") or seen.requests.append(r.url))
    try:
        page.goto(path.as_uri())
        yield seen
    finally:
        opened.close()
