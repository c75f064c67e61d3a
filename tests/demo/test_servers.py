"""The servers' ends, workers, threads and silent connections, beyond the post."""

import asyncio
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress

import httpx
import psutil
import pytest

from tests.support.load import fetch_page, open_streams
from tests.support.server import Server, free_port, make, running, wait_for_port
from tests.support.tab import browse_until, numbers

GEVENT = {"GUNICORN": "--worker-class gevent"}
PATIENCE = 5  # seconds until a stream that waits is given up
# A program that is a terminal: a shell in it runs the command that it is given.
TERMINAL = """import pty, sys
pty.spawn(["sh", "-c", '"$@"; exit', *sys.argv])"""
WITHOUT_DEFER = "import socket\nvars(socket).pop('TCP_DEFER_ACCEPT', None)\n"


async def boot(server):
    """Wait until every worker serves; Ctrl-C during the imports is another story."""
    pids = set()
    workers = int(server.variables.get("WORKERS", 1))
    async with asyncio.timeout(30):
        while len(pids) < workers:
            with suppress(httpx.TransportError):
                page = await asyncio.to_thread(httpx.get, server.url, timeout=20)
                pids.add(re.search(r"worker pid (\d+)", page.text)[1])


@pytest.mark.parametrize(
    ("target", "variables", "streams", "last"),
    [
        ("run-wsgi", {}, 1, "Shutting down: Master"),
        ("run-wsgi", {"WORKERS": 2}, 2, "Shutting down: Master"),
        ("run-wsgi", {"GUNICORN": "--threads 4"}, 4, "Shutting down: Master"),
        ("run-wsgi", {"WORKERS": 2} | GEVENT, 4, "Shutting down: Master"),
        ("run-asgi", {}, 4, "Finished server process"),
        ("run-asgi", {"WORKERS": 2}, 4, "Stopping parent process"),
    ],
)
async def test_ctrl_c_ends_server_and_streams(target, variables, streams, last):
    with Server(target, **variables) as server:
        await boot(server)
        opened = await open_streams(server.port, streams, 100, PATIENCE)
        await asyncio.to_thread(server.stop)  # fails after ten seconds
        log = server.log()
    assert len(opened) == streams
    assert last in log
    assert "Traceback" not in log
    if last == "Finished server process":  # the bodies are complete
        await asyncio.wait([stream.ended for stream in opened], timeout=10)
        assert [stream.rest for stream in opened] == [b"\r\n0\r\n\r\n"] * streams


@pytest.mark.parametrize("target", ["run-wsgi", "run-asgi"])
def test_closing_the_terminal_frees_the_port(target):
    """The system then sends SIGHUP to what runs in it."""
    port = free_port()
    command = [sys.executable, "-c", TERMINAL, *make(target, f"PORT={port}")]
    tab = httpx.Client(transport=httpx.HTTPTransport(retries=8), timeout=20)
    with (
        running(command, stdout=subprocess.PIPE) as terminal,
        tab.stream("GET", f"http://127.0.0.1:{port}/sse/") as stream,
    ):
        events = stream.iter_text()
        assert "100" in next(events)
        inside = psutil.Process(terminal.pid).children(recursive=True)
        terminal.kill()
        deadline = time.monotonic() + 20
        try:
            while listens(port):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            for program in inside:
                with suppress(psutil.NoSuchProcess):
                    program.kill()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_two_sync_workers_let_two_tabs_count_and_the_third_waits():
    with Server("run-wsgi", WORKERS=2) as server:
        assert len(await open_streams(server.port, 3, 100, PATIENCE)) == 2
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fetch_page(server.port), timeout=1)


@pytest.mark.parametrize(
    ("asgi", "each"),
    [("app:asgi_application", 0), ("tests.programs.foundations:stock", 1)],
)
async def test_threads_that_open_streams_hold(asgi, each):
    """What handlers.py is for: when Django's own holds none, it is needed no more."""
    with Server("run-asgi", ASGI=asgi) as server:
        worker = server.worker()
        await asyncio.gather(*(fetch_page(server.port) for _ in range(5)))
        await asyncio.sleep(0.5)  # a thread that ends takes a moment
        idle = worker.num_threads()
        streams = await open_streams(server.port, 200, 100, PATIENCE)
        assert len(streams) == 200
        assert abs(worker.num_threads() - idle - 200 * each) <= 4


@pytest.mark.parametrize("system", ["with TCP_DEFER_ACCEPT", "without"])
def test_silent_connections_hold_no_sync_worker_but_a_stream_does(system, tmp_path):
    """A browser opens some in advance; a worker would wait for them for 30 seconds."""
    if system == "without":
        (tmp_path / "sitecustomize.py").write_text(WITHOUT_DEFER)
    with Server("run-wsgi", PYTHONPATH=tmp_path) as server, ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        silent = [
            stack.enter_context(socket.create_connection(address, timeout=20))
            for _ in range(3)
        ]
        with httpx.stream("GET", f"{server.url}/sse/", timeout=20) as stream:
            events = stream.iter_text()
            assert "100" in next(events)
            with pytest.raises(httpx.ReadTimeout):
                httpx.get(server.url, timeout=3)
        # They are none the worse for it: whoever speaks at last is answered.
        for connection in reversed(silent):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")


async def test_runserver_hides_the_difference():
    """Its threads stream to several tabs at once, over WSGI."""
    port = free_port()
    command = [sys.executable, "app.py", "runserver", "--noreload", str(port)]
    with running(command):
        wait_for_port(port)
        url = f"http://127.0.0.1:{port}"
        await browse_until(lambda *tabs: all(map(numbers, tabs)), url, 3, seconds=30)
