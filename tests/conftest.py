"""The fixture that several test files share."""

import pytest
from helpers import CHROMIUM, require


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium."""
    require(CHROMIUM is not None, "Chromium (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
    yield browser
    browser.close()
    playwright.stop()
