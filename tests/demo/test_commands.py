"""Management commands, and DEBUG."""

import sys

import httpx
import pytest
from harness import free_port, manage, running, wait_for_port


def shell(command, **variables):
    _, output, _ = manage("shell", "--command", command, **variables)
    return output.splitlines()[-1]


def test_shell():
    assert shell("from app import COUNT; print(COUNT)") == "100"


def test_secret_key_is_made_at_start():
    command = "from django.conf import settings; print(settings.SECRET_KEY)"
    assert shell(command) != shell(command)


@pytest.mark.parametrize(
    ("value", "debug"), [("1", "True"), ("0", "False"), ("", "False")]
)
def test_debug(value, debug):
    command = "from django.conf import settings; print(settings.DEBUG)"
    assert shell(command, DEBUG=value) == debug


def test_runserver_hides_the_difference():
    """Its threads stream to several tabs at once, over WSGI."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    with running([sys.executable, "app.py", "runserver", "--noreload", address]):
        wait_for_port(port)
        with httpx.Client(timeout=20) as client:
            streams = [client.stream("GET", f"http://{address}/sse/") for _ in range(3)]
            for stream in streams:
                assert b"100" in next(stream.__enter__().iter_bytes())
