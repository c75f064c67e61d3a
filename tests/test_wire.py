"""What goes over the wire, byte by byte, and the protocol under it."""

import io
import socket
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from harness import Server

import app

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
COUNTDOWN_FROM_2 = b'event:i\ndata: {"i": 2}\n\nevent:i\ndata: {"i": 1}\n\n' + (
    b'event:i\ndata: {"i": 0}\n\n'
)


@pytest.fixture(scope="module", params=["run-wsgi", "run-asgi"])
def server(request):
    with Server(request.param, COUNT=2, TICK=0.2) as server:
        yield server


def exchange(server, request):
    """Send a request; return the header and the chunks of the body as they came."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode().lower().splitlines(), body


def unchunk(body):
    """Split a body in chunked transfer coding (RFC 9112, section 7.1)."""
    source, chunks = io.BytesIO(body), []
    while size := int(source.readline(), 16):
        chunks.append(source.read(size))
        assert source.readline() == b"\r\n"
    assert source.read() == b"\r\n"
    return chunks


def test_events_are_sent_one_by_one(server):
    request = b"GET /sse/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    (status, *lines), body = exchange(server, request)
    headers = dict(line.split(": ", 1) for line in lines)
    assert status == "http/1.1 200 ok"
    assert HEADERS.items() <= headers.items()
    assert "content-length" not in headers
    chunks = unchunk(body)
    assert b"".join(chunks) == COUNTDOWN_FROM_2
    assert len(chunks) == 3


def test_head_answers_the_same_headers_and_no_countdown(server):
    request = b"HEAD /sse/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    (status, *lines), body = exchange(server, request)
    assert status == "http/1.1 200 ok"
    assert HEADERS.items() <= dict(line.split(": ", 1) for line in lines).items()
    assert body.strip(b"0\r\n") == b""


@pytest.mark.parametrize("path", ["/", "/sse/", "/unknown/"])
def test_wsgi_application_is_valid(path):
    environ = {
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "HTTP_HOST": "localhost",
    }
    setup_testing_defaults(environ)
    iterator = validator(app.wsgi_application)(
        environ, lambda *args: io.BytesIO().write
    )
    body = b"".join(iterator)
    iterator.close()
    assert (body.count(b"event:i") == 4) == (path == "/sse/")
