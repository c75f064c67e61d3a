"""A headless Chromium for the tests; run as a program, it installs one if need be."""

import os
import subprocess
import sys
from contextlib import ExitStack, suppress

from playwright.sync_api import Error, sync_playwright

# The last is Playwright's own.
CHOICES = {"channel": "chrome"}, {"executable_path": "/usr/bin/chromium"}, {}
# As in Safari and on macOS, no name under localhost is known.
ARGUMENTS = ["--no-proxy-server", "--host-resolver-rules=MAP *.localhost ~NOTFOUND"]
# Without libatomic1, Playwright's driver installs nothing; apt-get does, for root.
PLAYWRIGHT = f"'{sys.executable}' -m playwright install --only-shell chromium"
APT = """export DEBIAN_FRONTEND=noninteractive
    apt-get update; apt-get install --yes chromium libatomic1"""
INSTALLERS = {"Chromium, by playwright install": PLAYWRIGHT}
if os.geteuid() == 0:
    INSTALLERS["chromium and some 440 other packages, by apt-get"] = APT


def launch(stack):
    """Launch a browser, installed or Playwright's own; or raise RuntimeError."""
    with suppress(Exception):  # the driver does not start
        chromium = stack.enter_context(sync_playwright()).chromium
        for choice in CHOICES:
            with suppress(Error):  # snap's placeholder, a missing library, none at all
                return stack.enter_context(chromium.launch(**choice, args=ARGUMENTS))
    raise RuntimeError("no Chromium works here: install Chrome or Chromium")


def works():
    with ExitStack() as stack, suppress(RuntimeError):
        launch(stack)
        return True
    return False


if __name__ == "__main__":
    # Playwright's driver would complain of a missing library, each time it starts.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    for what, command in INSTALLERS.items():
        if not works():
            print(f"Installing {what}, for the tests of the page ...", flush=True)
            subprocess.run(command, shell=True, capture_output=True)
    if not works():
        print("No Chromium could be installed: make test leaves out what needs one")
