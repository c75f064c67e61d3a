"""Bad input: a clear answer each time, and the server goes on."""

import re
import socket
import subprocess
import sys

import httpx
import pytest
from harness import ROOT, Server, clean_environment, free_port, run_make

APPLICATIONS = ["run-wsgi", "run-asgi"]


@pytest.fixture(scope="module", params=APPLICATIONS)
def client(request):
    with (
        Server(request.param, COUNT=1, TICK=0.01) as server,
        httpx.Client(base_url=server.url, timeout=20) as client,
    ):
        yield client


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


@pytest.mark.parametrize("target", APPLICATIONS)
@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("COUNT=ten", "COUNT='ten': must be a whole number >= 0"),
        ("COUNT=-1", "COUNT='-1': must be a whole number >= 0"),
        ("COUNT=1.5", "COUNT='1.5': must be a whole number >= 0"),
        ("COUNT=", "COUNT='': must be a whole number >= 0"),
        ("TICK=fast", "TICK='fast': must be a number >= 0"),
        ("TICK=-1", "TICK='-1': must be a number >= 0"),
        ("TICK=nan", "TICK='nan': must be a number >= 0"),
        ("TICK=inf", "TICK='inf': must be a number >= 0"),
    ],
)
def test_setting_that_is_no_number(target, variable, message):
    status, output, errors = run_make(target, variable, f"PORT={free_port()}")
    assert status != 0
    assert (output, errors) == ("", [message])


@pytest.mark.parametrize(
    "command", ["gunicorn app:wsgi_application", "uvicorn app:asgi_application"]
)
def test_setting_that_is_no_number_without_make(command):
    """A server that is started by hand ends, too, instead of trying for ever."""
    program, application = command.split()
    process = subprocess.run(
        [f"{sys.prefix}/bin/{program}", application],
        cwd=ROOT,
        env=clean_environment() | {"TICK": "fast"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert process.returncode != 0
    assert "could not convert string to float: 'fast'" in process.stderr


@pytest.mark.parametrize("target", APPLICATIONS)
@pytest.mark.parametrize("port", ["x", "99999", "-1"])
def test_port_that_is_none(target, port):
    status, output, errors = run_make(target, f"PORT={port}")
    assert status != 0
    assert (output, len(errors)) == ("", 1)
    assert f"PORT={port}" in errors[0]
    assert f"try make {target} PORT=8080" in errors[0]


@pytest.mark.parametrize("target", APPLICATIONS)
def test_port_in_use(target):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, output, errors = run_make(target, f"PORT={port}")
    assert status != 0
    assert (output, len(errors)) == ("", 1)
    assert re.search(f"PORT={port}: .*in use.*: try make {target} PORT=8080", errors[0])


def test_no_venv_module(tmp_path):
    python = tmp_path / "python3"
    python.write_text(
        f'#!/bin/sh\n[ "$2" = venv ] && exit 1\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    status, _, errors = run_make("run-asgi", f"PYTHON={python}", venv=tmp_path / "venv")
    assert status != 0
    assert errors == [f"{python} -m venv does not work here: apt install python3-venv"]


def test_help_names_every_target():
    _, text, _ = run_make("help")
    for target in ("run-wsgi", "run-asgi", "test", "clean"):
        assert f"make {target} " in text
