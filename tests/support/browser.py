"""A headless Chromium for the tests; run as a program, it installs one if need be."""

import shutil
import subprocess
import sys

from playwright.sync_api import Error, sync_playwright

NAMES = (
    *("google-chrome", "google-chrome-stable", "chromium", "chromium-browser"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
ARGUMENTS = ("--no-proxy-server", "--disable-background-networking", "--no-first-run")
APT = "apt-get update; DEBIAN_FRONTEND=noninteractive apt-get install --yes chromium"
INSTALLERS = (
    [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"],
    ["sh", "-c", APT],
)


def launch(playwright):
    """Launch an installed browser, else Playwright's own; or raise RuntimeError."""
    for path in (*filter(None, map(shutil.which, NAMES)), None):
        try:
            return playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        except Error:
            continue  # snap's place holder, a missing library, no browser at all
    raise RuntimeError("no Chromium works here: install Chrome or Chromium")


def works():
    try:
        with sync_playwright() as playwright:
            return launch(playwright).close() is None
    except RuntimeError:
        return False


if __name__ == "__main__":
    for command in INSTALLERS:
        if not works():
            print("Installing Chromium for the tests of the page ...", flush=True)
            subprocess.run(command, capture_output=True)
    if not works():
        print("No Chromium could be installed: make test leaves out what needs one")
