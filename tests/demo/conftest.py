"""What the tests of the demo share: a real browser."""

import os

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.support.browser import launch
from tests.support.countdown_page import RECORD_STATES, SECOND, Watch


@pytest.fixture(scope="module")  # no longer: async tests cannot run while it is open
def browser():
    """A real Chromium. Without one the test is skipped; in CI it fails."""
    expect.set_options(timeout=20 * SECOND)
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright)
        except RuntimeError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        yield browser
        browser.close()


@pytest.fixture
def context(browser):
    """A browser context: tabs that share connections, as those of a window do."""
    context = browser.new_context()
    context.add_init_script(RECORD_STATES)
    yield context
    context.close()


@pytest.fixture
def watch(context):
    watch = Watch(context)
    yield watch
    watch.check()
