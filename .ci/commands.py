"""README.md's commands one by one, each in a fresh clone, as an ordinary user.

The tests run in one .venv that has everything: here a command installs what it needs.
"""

import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.support.server import ROOT, free_port, running, signal_group, wait_for_page

COMMAND = r'(?:^|`)((?:[A-Z_]+=(?:"[^"]*"|\S+) )*make [a-z][^`#\n]*?)(?:`| +#|$)'
SHORT = {"compare": "FAST=1", "bench": "STREAMS=10", "test": "PYTEST_ADDOPTS=-kreadme"}
CLEAN = "git add --all && git diff --cached --exit-code"
NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []}


def run(command, options):
    with running(["sh", "-c", command], **options) as process:
        assert process.wait(900) == 0


def serve(command, options):
    """Start a server, which may have to be installed first, and press Ctrl-C."""
    port = free_port()
    with running(["sh", "-c", f"{command} PORT={port}"], **options) as server:
        wait_for_page(f"http://127.0.0.1:{port}/", server, seconds=180)
        signal_group(server, signal.SIGINT)
        server.wait(20)


with tempfile.TemporaryDirectory() as home:
    options = {"environment": {"HOME": home, "PYTHONPATH": "", "CI": ""}}
    commands = re.findall(COMMAND, (ROOT / "README.md").read_text(), re.MULTILINE)
    for command in dict.fromkeys(commands):
        print(f"== {command}", flush=True)
        options["cwd"] = clone = Path(home, command.replace("/", ""))
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        if os.geteuid() == 0:
            subprocess.run(["chown", "--recursive", "nobody", home], check=True)
            options |= NOBODY
        target = re.search("make ([a-z-]+)", command)[1]
        if target in ("run-wsgi", "run-asgi", "tabs"):
            serve(command, options)
        else:
            run(f"{command} {SHORT.get(target, '')}", options)
        run(CLEAN, options)
