"""What both servers answer: the events byte by byte, and the page to whoever asks."""

import io
import socket
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import httpx
import pytest

import app
from tests.support.server import Server

REQUEST = b"GET /sse/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
# Each of them in a chunk of its own (RFC 9112, section 7.1).
EVENTS = b"".join(b'18\r\nevent:i\ndata: {"i": %d}\n\n\r\n' % i for i in (2, 1, 0))


@pytest.fixture(scope="module", params=["run-wsgi", "run-asgi"])
def server(request):
    with Server(request.param, COUNT=2, TICK=0.05) as server:
        yield server


def test_events_are_sent_one_by_one(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(REQUEST)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().splitlines()
    assert status == "HTTP/1.1 200 OK"
    headers = httpx.Headers([line.split(": ", 1) for line in lines])
    assert HEADERS.items() <= dict(headers).items()
    assert "content-length" not in headers
    assert body == EVENTS + b"0\r\n\r\n"


def test_phone_in_the_same_network_is_answered(server):
    for path in ("/", "/sse/"):
        headers = {"Host": "192.168.1.5:8000"}
        response = httpx.get(f"{server.url}{path}", headers=headers, timeout=20)
        assert response.status_code == 200


@pytest.mark.parametrize("path", ["/", "/sse/", "/unknown/"])
def test_wsgi_application_is_valid(path):
    environ = {"SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    statuses = []

    def start_response(status, headers, exc_info=None):
        statuses.append(status)
        return io.BytesIO().write

    iterator = validator(app.wsgi_application)(environ, start_response)
    body = b"".join(iterator)
    iterator.close()
    assert statuses == ["404 Not Found" if path == "/unknown/" else "200 OK"]
    assert (body.count(b"event:i") == 4) == (path == "/sse/")
