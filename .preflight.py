"""Before a server starts: refuse what cannot work, and say what to open and watch.

The servers themselves would take many lines to report a mistake, gunicorn five seconds.
"""

import os
import socket
import sys
from contextlib import suppress


def check_knobs():
    count, tick = os.environ["COUNT"], os.environ["TICK"]
    with suppress(ValueError):
        if int(count) >= 0 and 0 <= float(tick) < 1e6:
            return
    sys.exit(f"COUNT={count} TICK={tick}: must be numbers >= 0, try COUNT=20 TICK=0.5")


def addresses(host, port):
    """The server's own address and, with HOST=0.0.0.0, the one for another device."""
    here = "localhost" if host in ("127.0.0.1", "0.0.0.0") else host
    yield f"http://{here}:{port}/"
    if host == "0.0.0.0":
        with suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing; nobody has it (RFC 5737)
            yield f"(on another device http://{probe.getsockname()[0]}:{port}/)"


def story(target):
    if os.environ["WORKERS"] != "1" or os.environ.get("GUNICORN_CMD_ARGS"):
        return "some tabs."
    if target == "run-asgi":
        return "three tabs: all of them count at once, down to Blastoff."
    return "three tabs: one counts, the others stay blank until it ends or is cut."


target, host, port = sys.argv[1:]
check_knobs()
try:
    socket.create_server((host, int(port))).close()
except (OSError, OverflowError, ValueError) as error:
    advice = f"try make {target} PORT=8080, or another HOST"
    sys.exit(f"HOST={host} PORT={port}: {error}: {advice}")
print("Open", *addresses(host, port), "in", story(target))
