"""The servers, beyond the post: bytes, ends, and connections that stay silent."""

import asyncio
import re
import signal
import socket
from contextlib import ExitStack, nullcontext

import httpx
import psutil
import pytest

from tests.support.load import REQUEST, open_streams
from tests.support.server import Server, signal_group

HEADERS = {
    "content-type: text/event-stream",
    "cache-control: no-cache",
    "x-accel-buffering: no",
}
# Each event is sent in a chunk of its own (RFC 9112, section 7.1).
EVENTS = b"".join(b'18\r\nevent:i\ndata: {"i": %d}\n\n\r\n' % i for i in (2, 1, 0))
STARTED = "Started server process|ASGI server listening"  # what each ASGI worker logs
WITHOUT_DEFER = "import socket\nvars(socket).pop('TCP_DEFER_ACCEPT', None)\n"
GUNICORN = {"SERVER": "gunicorn"}
SERVERS = [("run-wsgi", {}), ("run-asgi", {}), ("run-asgi", GUNICORN)]


@pytest.mark.parametrize(("target", "variables"), SERVERS)
def test_events_are_sent_one_by_one(target, variables):
    with (
        Server(target, COUNT=2, TICK=0.05, **variables) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as client,
    ):
        client.sendall(REQUEST % b"/sse/")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode().lower().splitlines()
    assert status == "http/1.1 200 ok"
    assert set(headers) >= HEADERS
    assert body == EVENTS + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("end", "target", "variables", "streams"),
    [
        (signal.SIGINT, "run-wsgi", {}, 1),
        (signal.SIGINT, "run-wsgi", {"GUNICORN_CMD_ARGS": "--threads 4"}, 4),
        (signal.SIGINT, "run-asgi", {}, 4),
        (signal.SIGINT, "run-asgi", {"WORKERS": 2}, 4),
        (signal.SIGINT, "run-asgi", GUNICORN, 4),
        (signal.SIGINT, "run-asgi", GUNICORN | {"WORKERS": 2}, 4),
        (signal.SIGHUP, "run-wsgi", {}, 1),
        (signal.SIGHUP, "run-asgi", {}, 4),
        (signal.SIGHUP, "run-asgi", GUNICORN | {"WORKERS": 2}, 4),
    ],
)
async def test_ctrl_c_or_closing_the_terminal_ends_server_and_streams(
    end, target, variables, streams
):
    """Either way, the system sends a signal to all that runs in the terminal."""
    with Server(target, **variables) as server:
        while "WORKERS" in variables and len(re.findall(STARTED, server.log())) < 2:
            await asyncio.sleep(0.05)  # Ctrl-C must not come during their imports
        opened = await open_streams(server.port, streams, patience=5)
        programs = psutil.Process(server.process.pid).children(recursive=True)
        signal_group(server.process, end)
        _, left = await asyncio.to_thread(psutil.wait_procs, programs, timeout=10)
        assert "Traceback" not in server.log()
        if "SERVER" in variables and end == signal.SIGINT:  # streams end in order
            assert "Worker exiting" in server.log()
    assert (len(opened), left) == (streams, [])


@pytest.mark.parametrize(
    ("target", "variables", "before", "outcome"),
    [
        ("run-wsgi", {}, "", pytest.raises(httpx.ReadTimeout)),
        ("run-wsgi", {}, WITHOUT_DEFER, pytest.raises(httpx.ReadTimeout)),
        ("run-asgi", GUNICORN, "", nullcontext()),
    ],
)
def test_silent_connections_hold_no_worker_but_a_stream_holds_a_sync_one(
    project, target, variables, before, outcome
):
    """A browser opens some in advance; a worker would wait for them for 30 seconds."""
    hooks = project / ".gunicorn.py"
    hooks.write_text(before + hooks.read_text())
    with Server(target, project, **variables) as server, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        with httpx.stream("GET", f"{server.url}/sse/", timeout=20) as stream:
            events = stream.iter_text()
            assert "100" in next(events)
            with outcome:
                httpx.get(server.url, timeout=3)
