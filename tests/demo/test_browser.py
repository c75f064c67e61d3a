"""The tests of the page, and the picture, where no browser can be had."""

import sys

import pytest

from tests.support import browser
from tests.support.server import free_port, run

WITHOUT_BROWSER = """
import pytest, sys
from tests.programs import tabs
from tests.support import browser

browser.installed = list
sys.exit(pytest.main(sys.argv[1:]) if sys.argv[1:] else tabs.main())
"""


def run_without_browser(tmp_path, *arguments, **variables):
    command = [sys.executable, "-c", WITHOUT_BROWSER, *arguments]
    nothing = {"PLAYWRIGHT_BROWSERS_PATH": str(tmp_path)}
    return run(command, nothing | variables)


def run_page_test(tmp_path, ci):
    arguments = ["--numprocesses=0", "tests/demo/test_page.py", "-k", "title"]
    return run_without_browser(tmp_path, *arguments, CI=ci)


def test_page_is_skipped_with_the_reason_in_the_last_line(tmp_path):
    status, output, _ = run_page_test(tmp_path, ci="")
    reason = "no Chromium works here: install Chrome or Chromium"
    assert status == 0
    assert "SKIPPED tests/demo/test_page.py::test_title" in output
    assert output.splitlines()[-1] == f"left out: 1 of the tests, because {reason}"


def test_page_fails_in_ci(tmp_path):
    status, output, _ = run_page_test(tmp_path, ci="1")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "no Chromium works here" in output


def test_picture_ends_in_one_line(tmp_path):
    picture = {"PNG": str(tmp_path / "tabs.png"), "PORT": str(free_port())}
    status, _, errors = run_without_browser(tmp_path, **picture)
    assert status == 1
    assert errors == "no Chromium works here: install Chrome or Chromium\n"


def test_installer_that_hangs_is_ended(monkeypatch, capsys):
    # The child that it leaves behind would keep its output open.
    hanging = ["sh", "-c", "sleep 60 & sleep 60"]
    monkeypatch.setattr(browser, "works", lambda: False)
    monkeypatch.setattr(browser, "installers", lambda: [hanging])
    monkeypatch.setattr(browser, "PATIENCE", 0.2)
    browser.install()
    assert capsys.readouterr().out.endswith(
        "No Chromium could be installed: make test leaves out what needs one\n"
    )
