"""A headless Chromium for the tests; run as a program, it installs one if need be.

An installed Chrome or Chromium comes first, then Playwright's own. No path is trusted:
a browser works if it can be launched.
"""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

from tests.support.server import running

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
    raise RuntimeError("no Chromium works here: install Chrome or Chromium")


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
    """Commands that can bring a browser, as far as this user may run them."""
    yield [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    if shutil.which("apt-get") and os.geteuid() == 0:
        apt = "DEBIAN_FRONTEND=noninteractive apt-get"
        yield ["sh", "-c", f"{apt} update; {apt} install --yes chromium"]


def install():
    """Install a browser unless one works; print one line if none can be had."""
    if works():
        return
    print("Installing Chromium for the tests of the page ...", flush=True)
    silent = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
    for command in installers():
        # Whatever the installer has started ends with it: it may be what hangs.
        with running(command, **silent) as process, suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        if works():
            return
    print("No Chromium could be installed: make test leaves out what needs one")


if __name__ == "__main__":
    install()
