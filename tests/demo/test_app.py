"""app.py's answers on both servers: the events byte by byte, and bad requests."""

import io
import socket
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import httpx
import pytest
from foundations import HEADERS
from harness import Server

import app

EVENT_HEADERS = {name.lower(): value for name, value in HEADERS.items()}
COUNTDOWN_FROM_2 = b'event:i\ndata: {"i": 2}\n\nevent:i\ndata: {"i": 1}\n\n' + (
    b'event:i\ndata: {"i": 0}\n\n'
)


@pytest.fixture(scope="module", params=["run-wsgi", "run-asgi"])
def server(request):
    with Server(request.param, COUNT=2, TICK=0.05) as server:
        yield server


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


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
    assert EVENT_HEADERS.items() <= headers.items()
    assert "content-length" not in headers
    chunks = unchunk(body)
    assert b"".join(chunks) == COUNTDOWN_FROM_2
    assert len(chunks) == 3


def test_head_answers_the_same_headers_and_no_countdown(server):
    request = b"HEAD /sse/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    (status, *lines), body = exchange(server, request)
    assert status == "http/1.1 200 ok"
    assert EVENT_HEADERS.items() <= dict(line.split(": ", 1) for line in lines).items()
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


def still_serves(client):
    return client.get("/").status_code == client.get("/sse/").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/sse/", "/sse/swapped/"])
def test_wrong_method(client, method, path):
    response = client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"
    assert still_serves(client)


def test_unknown_path(client):
    assert client.get("/unknown/").status_code == 404
    assert still_serves(client)


@pytest.mark.parametrize("path", ["/", "/sse/", "/sse/swapped/"])
@pytest.mark.parametrize("host", ["example.com", "localhost.example.com", "127.0.0.2"])
def test_foreign_host(client, path, host):
    assert client.get(path, headers={"Host": host}).status_code == 400
    assert still_serves(client)


@pytest.mark.parametrize("host", ["localhost", "tab7.localhost", "127.0.0.1", "[::1]"])
def test_own_host(client, host):
    assert client.get("/", headers={"Host": f"{host}:8000"}).status_code == 200
