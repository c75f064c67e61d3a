"""What the tests of the demo share: a copy of the project, and a real browser."""

import os
import shutil
import sys
from contextlib import ExitStack

import pytest
from playwright.sync_api import expect

from tests.support.browser import launch
from tests.support.server import ROOT, VENV

RECORD_STATES = """
    window.heard = [];
    new MutationObserver((mutations) => {
        for (const { target } of mutations)
            if (target.id === "state") heard.push(target.textContent);
    }).observe(document, { childList: true, subtree: true });
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the project, with the same .venv."""
    folder = tmp_path / "project"
    unused = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=unused)  # no newer than the venv's stamps
    (folder / VENV).symlink_to(sys.prefix)
    return folder


@pytest.fixture(scope="module")  # no longer: async tests cannot run while it is open
def browser():
    """A real Chromium. Without one the test is skipped; in CI it fails."""
    expect.set_options(timeout=20_000)
    with ExitStack() as stack:
        try:
            yield launch(stack)
        except RuntimeError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))


@pytest.fixture
def context(browser):
    """A browser context: tabs that share connections, as those of a window do."""
    with browser.new_context() as context:
        context.add_init_script(RECORD_STATES)
        yield context


@pytest.fixture
def open_tab(context):
    """A function that opens the page of a server in a tab."""

    def open_tab(server, host="localhost"):
        tab = context.new_page()
        tab.goto(f"http://{host}:{server.port}/")
        return tab

    return open_tab


@pytest.fixture
def watch(context):
    """The ends of the complaints that a test expects; any other fails the test."""
    expected, complaints = [], []
    context.on("console", lambda message: complaints.append(message.text))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield expected
    assert [c for c in complaints if not c.endswith(tuple(expected))] == []
