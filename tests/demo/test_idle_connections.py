"""Connections that say nothing, as browsers open in advance, hold no sync worker."""

import contextlib
import socket

import httpx
import pytest
from harness import Server

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(params=["system with TCP_DEFER_ACCEPT", "system without"])
def server(request, tmp_path):
    variables = {}
    if request.param == "system without":
        hide = "import socket\nvars(socket).pop('TCP_DEFER_ACCEPT', None)\n"
        (tmp_path / "sitecustomize.py").write_text(hide)
        variables["PYTHONPATH"] = tmp_path
    with Server("run-wsgi", **variables) as server:
        yield server


@pytest.fixture
def idle(server):
    """Three connections that say nothing."""
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        connect = socket.create_connection
        yield [stack.enter_context(connect(address, timeout=10)) for _ in range(3)]


def test_idle_connections_hold_no_worker(server, idle):
    page = httpx.get(server.url, timeout=10)  # the worker would wait for 30 seconds
    assert page.status_code == 200
    # They are none the worse for it: whoever speaks at last is answered.
    for connection in reversed(idle):
        connection.sendall(REQUEST)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_stream_holds_the_worker_all_the_same(server, idle):
    with httpx.stream("GET", f"{server.url}/sse/", timeout=10) as stream:
        events = stream.iter_text()
        assert "100" in next(events)
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(server.url, timeout=3)
    assert httpx.get(server.url, timeout=10).status_code == 200
