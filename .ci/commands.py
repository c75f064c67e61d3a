"""README.md's commands one by one, each in a fresh clone, as an ordinary user.

The tests run in one .venv that has everything: here a command installs what it needs.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
COMMAND = r'(?:^|`)((?:[A-Z_]+=(?:"[^"]*"|\S+) )*make [a-z][^`#\n]*?)(?:`| +#|$)'
SHORT = {"compare": "FAST=1", "bench": "STREAMS=10", "test": "PYTEST_ADDOPTS=-kreadme"}
CLEAN = "git add --all && git diff --cached --exit-code"
NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []}


def start(command, folder):
    return subprocess.Popen(
        ["sh", "-c", command],
        cwd=folder,
        env=os.environ | {"HOME": str(folder.parent), "CI": ""},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **(NOBODY if os.geteuid() == 0 else {}),
    )


def serves(server, port):
    """Whether a server sends an event within three minutes, and ends at Ctrl-C."""
    event, end = None, time.monotonic() + 180
    while not event and server.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
        with suppress(OSError):
            event = urlopen(f"http://127.0.0.1:{port}/sse/", timeout=20).readline()
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGINT)
    server.wait(20)
    return event == b"event:i\n"


def works(command, clone):
    """Whether a command does what it should, and leaves its clone clean."""
    target = re.search("make ([a-z-]+)", command)[1]
    if target in ("run-wsgi", "run-asgi", "tabs"):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        done = serves(start(f"{command} PORT={port}", clone), port)
    else:
        done = start(f"{command} {SHORT.get(target, '')}", clone).wait(900) == 0
    return done and start(CLEAN, clone).wait() == 0


commands = re.findall(COMMAND, (ROOT / "README.md").read_text(), re.MULTILINE)
with tempfile.TemporaryDirectory() as home:
    for command in dict.fromkeys(commands):
        print(f"== {command}", flush=True)
        clone = Path(home, command.replace("/", ""))
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        if os.geteuid() == 0:
            subprocess.run(["chown", "--recursive", "nobody", home], check=True)
        if not works(command, clone):
            sys.exit(f"{command}: failed")
