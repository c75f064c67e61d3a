"""What the three programs share: their knobs, their servers, and how they end."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress

import httpx

# What every server is told.
SERVER_KNOBS = {"WORKERS": 1, "COUNT": 100, "TICK": 1.0, "DEBUG": ""}


def add_knobs(parser, **defaults):
    """Add options whose defaults are make's variables of the same names, or these."""
    for name, default in defaults.items():
        given = os.environ.get(name) or default
        parser.add_argument(f"--{name.lower()}", type=type(default), default=given)


@asynccontextmanager
async def serving(*servers):
    """Run servers for the length of the block, which begins when they have answered."""
    for server in servers:
        server.launch()
    try:
        await asyncio.gather(*map(answer, servers))
        yield
    finally:
        for server in servers:
            server.kill()


async def answer(server):
    """Wait for a page: workers import the application after they listen."""
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=20) as client:
        while True:
            await asyncio.sleep(0.05)
            server.check()
            with suppress(httpx.TransportError):
                return (await client.get(server.url)).raise_for_status()


def run_program(program):
    """Run a coroutine; return the exit status, or exit with what went wrong."""
    # A signal cancels what is awaited, as asyncio does at Ctrl-C. So it never comes
    # between the start of a process and the moment when the program knows of it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return asyncio.run(program)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (RuntimeError, OSError, httpx.HTTPError) as error:
        sys.exit(str(error) or repr(error))
