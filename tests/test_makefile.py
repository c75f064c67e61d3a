"""The Makefile's targets: bad settings end in one line that says what to do."""

import re
import socket
import sys

import pytest
from harness import free_port, run, run_make

TARGETS = ["run-wsgi", "run-asgi"]


@pytest.mark.parametrize("target", TARGETS)
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


@pytest.mark.parametrize("target", TARGETS)
def test_workers_come_from_the_environment_or_the_command_line(target):
    for arguments, workers in (([], 2), (["WORKERS=3"], 3)):
        _, output, _ = run(["make", "-n", target, *arguments], {"WORKERS": "2"})
        assert f"--workers '{workers}'" in output


@pytest.mark.parametrize(
    ("program", "application"),
    [("gunicorn", "app:wsgi_application"), ("uvicorn", "app:asgi_application")],
)
def test_setting_that_is_no_number_without_make(program, application):
    """A server that is started by hand ends, too, instead of trying for ever."""
    command = [f"{sys.prefix}/bin/{program}", application]
    status, _, errors = run(command, {"TICK": "fast"})
    assert status != 0
    assert "could not convert string to float: 'fast'" in errors


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("port", ["x", "99999", "-1"])
def test_port_that_is_none(target, port):
    status, output, errors = run_make(target, f"PORT={port}")
    assert status != 0
    assert (output, len(errors)) == ("", 1)
    assert f"PORT={port}" in errors[0]
    assert f"try make {target} PORT=8080" in errors[0]


@pytest.mark.parametrize("target", TARGETS)
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
