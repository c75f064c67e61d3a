"""Stop `make run-wsgi` and `make run-asgi` at a setting that cannot work, in one line.

The servers themselves would say what is wrong in many lines, gunicorn after five
seconds. The settings are read from the environment, as app.py reads COUNT and TICK.
"""

import math
import os
import socket
import sys


def number(name, kind, least, default):
    """Return the setting as a number; exit with one line if it isn't one."""
    text = os.environ.get(name, default)
    try:
        value = kind(text)
        if least <= value < math.inf:
            return value
    except ValueError:
        pass
    what = "whole number" if kind is int else "number"
    sys.exit(f"{name}={text!r}: must be a {what} >= {least}")


def check_address(target, host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, int(port)), family=family).close()
    except (OSError, OverflowError, ValueError) as error:
        advice = f"try make {target} PORT=8080, or another HOST"
        sys.exit(f"HOST={host} PORT={port}: {error}: {advice}")


if __name__ == "__main__":
    number("COUNT", int, least=0, default="100")
    number("TICK", float, least=0, default="1")
    number("WORKERS", int, least=1, default="1")
    check_address(*sys.argv[1:])
