"""A headless Chromium for the tests; run as a program, it installs one if need be.

An installed Chrome or Chromium comes first, then Playwright's own. No path is trusted:
a browser works if it can be launched.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

NAMES = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser")
MACOS = ("Google Chrome", "Chromium")
ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE = 300  # seconds; what an installer may take


def launch(playwright):
    """Launch the first browser that works; raise RuntimeError if there is none."""
    for path in (*installed(), None):
        try:
            return playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        except Error:
            continue  # snap's place holder, a missing library, no browser at all
    raise RuntimeError("no Chromium works here: run make test, which installs one")


def installed():
    """The paths of the browsers that seem to be installed."""
    commands = [shutil.which(name) for name in NAMES]
    apps = [f"/Applications/{name}.app/Contents/MacOS/{name}" for name in MACOS]
    return [path for path in commands + apps if path and Path(path).exists()]


def works():
    """Whether a browser can be launched."""
    try:
        with sync_playwright() as playwright:
            launch(playwright).close()
    except RuntimeError:
        return False
    return True


def installers():
    """Commands that can bring a browser, as far as this system has them."""
    yield [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    if shutil.which("apt-get"):
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        yield [*root, "sh", "-c", "apt-get update; apt-get install --yes chromium"]


def install():
    """Install a browser unless one works; exit with one line if none can be had."""
    if works():
        return
    print("Installing Chromium for the tests of the page ...", flush=True)
    for command in installers():
        try:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if works():
            return
    sys.exit("No Chromium could be installed: install Chrome or Chromium yourself")


if __name__ == "__main__":
    install()
