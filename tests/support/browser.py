"""A headless Chromium for the tests; run as a program, it installs one if need be."""

import os
import subprocess
import sys
from contextlib import ExitStack, redirect_stderr, suppress
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

# The last is Playwright's own.
CHOICES = {"channel": "chrome"}, {"executable_path": "/usr/bin/chromium"}, {}
ARGUMENTS = [
    "--no-proxy-server",
    "--disable-background-networking",
    "--no-first-run",
    "--host-resolver-rules=MAP *.localhost ~NOTFOUND",  # as in Safari and on macOS
]
# Playwright's driver needs libatomic1, and cannot install anything without it.
APT = "DEBIAN_FRONTEND=noninteractive apt-get install --yes chromium libatomic1"
INSTALLERS = [
    (
        "a Chromium of Playwright's, by playwright install",
        [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"],
    ),
    (
        "chromium and libatomic1, with up to 440 other packages, by apt-get",
        ["sh", "-c", f"apt-get update; {APT}"],
    ),
]


def launch(stack):
    """Launch a browser, installed or Playwright's own; or raise RuntimeError."""
    with suppress(Exception):  # the driver does not start
        chromium = stack.enter_context(sync_playwright()).chromium
        for choice in CHOICES:
            with suppress(Error):  # snap's place holder, a missing library, none at all
                return stack.enter_context(chromium.launch(**choice, args=ARGUMENTS))
    raise RuntimeError("no Chromium works here: install Chrome or Chromium")


def works():
    with ExitStack() as stack, suppress(RuntimeError):
        silence = stack.enter_context(Path(os.devnull).open("w"))
        stack.enter_context(redirect_stderr(silence))  # the driver's own complaints
        launch(stack)
        return True
    return False


if __name__ == "__main__":
    for what, command in INSTALLERS[: 2 if os.geteuid() == 0 else 1]:
        if not works():
            print(f"Installing {what}, for the tests of the page ...", flush=True)
            subprocess.run(command, capture_output=True)
    if not works():
        print("No Chromium could be installed: make test leaves out what needs one")
