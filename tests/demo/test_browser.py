"""The tests of the page where no browser can be had."""

import re
import sys

import pytest

from tests.support.server import run

WITHOUT_BROWSER = """
import pytest, sys
from tests.support import browser

browser.CHOICES = ({},)
sys.exit(pytest.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("ci", "status", "outcome"),
    [("", pytest.ExitCode.OK, "SKIPPED"), ("1", pytest.ExitCode.TESTS_FAILED, "ERROR")],
)
def test_summary_says_what_is_left_out_but_ci_fails(tmp_path, ci, status, outcome):
    twelve = ["--numprocesses=0", "tests/demo/test_page.py", "-k", "twelve"]
    command = [sys.executable, "-c", WITHOUT_BROWSER, *twelve]
    nothing = {"PLAYWRIGHT_BROWSERS_PATH": str(tmp_path), "CI": ci}
    ended, output, _ = run(command, nothing)
    assert ended == status
    summary = output.partition("short test summary")[2]
    assert re.search(f"{outcome}.*no Chromium works here", summary)
