"""What the three programs share: their knobs, their servers, and how they end."""

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager

import httpx

from tests.support.server import MAKEFILE, wait_for_page

# make passes them on; a program that is started without make reads them itself.
DEFAULTS = dict(re.findall(r"^([A-Z]+) \??= (.*)", MAKEFILE, re.MULTILINE))
SERVER_KNOBS = {"SERVER": str, "WORKERS": int, "COUNT": int, "TICK": float}


def add_knobs(parser, **types):
    """Add an option of this type for each name; its default is make's variable."""
    for name, kind in types.items():
        default = os.environ.get(name, DEFAULTS.get(name, ""))
        parser.add_argument(f"--{name.lower()}", type=kind, default=default)


@asynccontextmanager
async def serving(*servers):
    """Run servers for the length of the block, which begins when all have answered."""
    for server in servers:
        server.launch()
    try:
        waits = ((wait_for_page, s.url, s.process, s.log) for s in servers)
        await asyncio.gather(*(asyncio.to_thread(*wait) for wait in waits))
        yield
    finally:
        for server in servers:
            server.kill()


def run_program(program):
    """Run a coroutine; return the exit status, or exit with what went wrong."""
    # Each signal cancels what is awaited, as Ctrl-C does with asyncio. So none can come
    # between the start of a process and the moment when the program knows about it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return asyncio.run(program)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (RuntimeError, OSError, httpx.HTTPError) as error:
        sys.exit(str(error) or repr(error))
