"""A headless Chromium for tests of pages, and what a page must never do: complain, or ask a network for
anything."""

import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

_QUIET = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# Of software rendering, not of the page.
_DRIVER = "GL Driver Message"


@contextmanager
def opened(path, **settings):
    """Open a file in a new window, wait for its first chart, and check at the end that it neither complained
    nor asked for anything."""
    from playwright.sync_api import sync_playwright

    said, asked = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
        page = browser.new_context(**settings).new_page()
        page.set_default_timeout(120_000)  # a machine may be busy
        page.on("console", lambda message: said.append(message.text) if _DRIVER not in message.text else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_function("[...document.querySelectorAll('figure')].some((figure) => figure.view)")
        yield page
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]


def wait_for_all(page):
    """Wait until every chart is drawn."""
    page.wait_for_function(
        "[...document.querySelectorAll('figure:has(.chart)')].every((figure) => figure.view)"
    )
