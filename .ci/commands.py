"""README.md's commands one by one, each in a fresh clone, as an ordinary user.

The tests run in one .venv that has everything: here a command installs what it needs.
"""

import os
import re
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from tests.support.server import ROOT, free_port, signal_group

COMMAND = r'(?:^|`)((?:[A-Z_]+=(?:"[^"]*"|\S+) )*make [a-z][^`#\n]*?)(?:`| +#|$)'
SHORT = {"compare": "FAST=1", "bench": "STREAMS=10", "test": "PYTEST_ADDOPTS=-kreadme"}
CLEAN = "git add --all && git diff --cached --exit-code"
NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []}


def serve(command, options):
    """Start a server, wait three minutes at most for an event, and press Ctrl-C."""
    port, deadline = free_port(), time.monotonic() + 180
    server = subprocess.Popen(f"{command} PORT={port}", **options)
    event = b""
    while not event and server.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
        with suppress(OSError):
            event = urlopen(f"http://127.0.0.1:{port}/sse/", timeout=20).readline()
    signal_group(server, signal.SIGINT)
    server.wait(20)
    assert event == b"event:i\n"


with tempfile.TemporaryDirectory() as home:
    options = {"shell": True, "stdin": subprocess.DEVNULL, "start_new_session": True}
    options |= {"env": os.environ | {"HOME": home, "PYTHONPATH": "", "CI": ""}}
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
            command = f"{command} {SHORT.get(target, '')}"
            subprocess.run(command, check=True, timeout=900, **options)
        subprocess.run(CLEAN, check=True, **options)
