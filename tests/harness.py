"""What the tests, `make compare` and `make bench` share: a real server, and a tab.

A server is started by the Makefile's own targets, as a reader would start it.
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from httpx_sse import aconnect_sse

ROOT = Path(__file__).resolve().parent.parent
RECONNECT = 3.0  # seconds; what Chromium waits before EventSource tries again


def free_port():
    """A TCP port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Server:
    """A server started by `make TARGET`, for the length of a with block.

    Variables become make's, and so the environment's: COUNT, TICK, GUNICORN_CMD_ARGS.
    Raises RuntimeError with the end of the log if the server does not start.
    """

    READY = re.compile(r"Booting worker with pid|Uvicorn running on")

    def __init__(self, target, **variables):
        self.target = target
        self.port = variables.setdefault("PORT", free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self.variables = variables
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115, closed in __exit__

    def __enter__(self):
        try:
            self.start()
        except KeyboardInterrupt:  # the server has a session of its own
            self.kill()
            raise
        return self

    def __exit__(self, *exc_info):
        self.stop()
        self._log.close()

    def start(self):
        """Start the server and wait until it listens."""
        arguments = [f"{name}={value}" for name, value in self.variables.items()]
        self.process = subprocess.Popen(
            ["make", self.target, f"VENV={sys.prefix}", *arguments],
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own: stop() is its Ctrl-C
        )
        deadline = time.monotonic() + 30
        while not self.READY.search(self.log()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"make {self.target} failed:\n{self.log()[-2000:]}")
            time.sleep(0.05)

    def stop(self, timeout=10):
        """Press Ctrl-C; return the seconds that the server took to end."""
        begin = time.monotonic()
        signal_group(self.process, signal.SIGINT)
        try:
            self.process.wait(timeout)
        finally:
            self.kill()
        return time.monotonic() - begin

    def kill(self):
        """End whatever is left of the server at once."""
        signal_group(self.process, signal.SIGKILL)
        self.process.wait()

    def log(self):
        """What make and the server have printed so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def worker(self):
        """The process that serves: the last of make, shell, arbiter, worker."""
        processes = psutil.Process(self.process.pid).children(recursive=True)
        return next(p for p in reversed(processes) if not p.children())


def signal_group(process, number):
    """Send a signal to the process and to all that it started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def clean_environment():
    """This process's environment without what would reach into the server."""
    outer = {"COUNT", "TICK", "DEBUG", "PORT", "GUNICORN_CMD_ARGS", "WEB_CONCURRENCY"}
    outer |= {"STREAMS", "JSON", "SVG"}
    outer |= {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}
    return {name: value for name, value in os.environ.items() if name not in outer}


@dataclass(frozen=True)
class Record:
    """One thing that happened to a tab.

    at: seconds since the recording began; kind: "open" (asks for the page), "page" (has
    it, asks for the stream), "number" (value: the number), "cut" (value: the last number,
    or None), "retry" (asks for the stream again), "blastoff" (0 was received: the end).
    """

    at: float
    tab: int
    kind: str
    value: int | None = None


async def browse(url, tab, record: Callable[[Record], None], clock=time.monotonic):
    """Be a browser's tab: load the page, read its stream, reconnect when it is cut."""

    def note(kind, value=None):
        record(Record(clock(), tab, kind, value))

    async with httpx.AsyncClient(base_url=url, timeout=None) as client:
        note("open")
        (await client.get("/")).raise_for_status()
        note("page")
        while not await count(client, note):
            await asyncio.sleep(RECONNECT)
            note("retry")


async def count(client, note):
    """Read one event stream; return whether it reached 0."""
    last = None
    try:
        async with aconnect_sse(client, "GET", "/sse/") as source:
            source.response.raise_for_status()
            async for event in source.aiter_sse():
                last = json.loads(event.data)["i"]
                note("number", last)
    except httpx.TransportError:
        pass  # a killed worker's connection ends in the middle
    note("blastoff" if last == 0 else "cut", last)
    return last == 0
