"""Management commands and DEBUG=1, as in the post."""

import subprocess
import sys

import httpx
import pytest
from harness import ROOT, Server, clean_environment, free_port, wait_for_port


def manage(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "app.py", *arguments],
        cwd=ROOT,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_check():
    assert "no issues" in manage("check").stdout


def test_shell():
    process = manage("shell", "--command", "from app import COUNT; print(COUNT)")
    assert process.stdout.splitlines()[-1] == "100"


def test_secret_key_is_made_at_start():
    command = "from django.conf import settings; print(settings.SECRET_KEY)"
    keys = {manage("shell", "--command", command).stdout for _ in range(2)}
    assert len(keys) == 2


def test_runserver_hides_the_difference():
    """Its threads stream to several tabs at once, over WSGI."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "app.py", "runserver", "--noreload", f"127.0.0.1:{port}"],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for_port(port)
            url = f"http://127.0.0.1:{port}/sse/"
            with httpx.Client(timeout=20) as client:
                streams = [client.stream("GET", url) for _ in range(3)]
                for stream in streams:
                    assert b"100" in next(stream.__enter__().iter_bytes())
        finally:
            process.kill()


@pytest.mark.parametrize("target", ["run-wsgi", "run-asgi"])
@pytest.mark.parametrize(("debug", "found"), [("1", True), ("0", False), ("", False)])
def test_debug(target, debug, found):
    with Server(target, DEBUG=debug) as server:
        page = httpx.get(f"{server.url}/unknown/", timeout=20)
    assert page.status_code == 404
    assert ("DEBUG = True" in page.text) == found
