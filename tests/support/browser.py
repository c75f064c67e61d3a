"""A headless Chromium for the tests; run as a program, it installs one if need be."""

import subprocess
import sys
from contextlib import ExitStack, suppress

from playwright.sync_api import Error, sync_playwright

# The last is Playwright's own.
CHOICES = {"channel": "chrome"}, {"executable_path": "/usr/bin/chromium"}, {}
ARGUMENTS = (
    "--no-proxy-server",
    "--disable-background-networking",
    "--no-first-run",
    # Safari knows no names under localhost, nor does macOS.
    "--host-resolver-rules=MAP *.localhost ~NOTFOUND",
)
APT = "DEBIAN_FRONTEND=noninteractive apt-get install --yes chromium libatomic1"
INSTALLERS = (
    [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"],
    ["sh", "-c", f"apt-get update; {APT}"],  # the library is Playwright's driver's
)


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
        launch(stack)
        return True
    return False


if __name__ == "__main__":
    for command in INSTALLERS:
        if not works():
            print("Installing Chromium for the tests of the page ...", flush=True)
            subprocess.run(command, capture_output=True)
    if not works():
        print("No Chromium could be installed: make test leaves out what needs one")
