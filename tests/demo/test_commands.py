"""What a reader may run into: a wrong knob, a taken port, a shell's settings."""

import os
import re
import socket
import sys
from unittest.mock import patch

import httpx
import pytest

from tests.programs.common import DEFAULTS
from tests.support.server import Server, run, run_make

ANNOUNCED = [
    ("run-wsgi", {}, "in three tabs: one counts, the others stay blank .*"),
    ("run-wsgi", {"WORKERS": "3"}, "in some tabs."),
    ("run-wsgi", {"GUNICORN_CMD_ARGS": "--threads 4"}, "in some tabs."),
    ("run-asgi", {}, "in three tabs: all of them count at once, .*"),
    ("run-asgi", {"HOST": "0.0.0.0"}, r"\(on .* http://[\d.]+:0/\) in .*"),
]
WRONG = ["COUNT=ten", "TICK=nan", "PORT=x"]
# What a developer's shell may hold for other projects.
SHELL = """DEBUG=True DJANGO_SETTINGS_MODULE=settings HOST=x86_64-conda-linux-gnu
    LC_ALL=C MAKEFLAGS=-j8 PIP_PREFIX=/other PIP_ROOT=/other PIP_TARGET=/other
    PIP_USER=1 PYTHONHOME=/other PYTHONPATH=/other PYTHONSAFEPATH=1
    PYTHONWARNINGS=error SERVER=other UVICORN_PORT=1"""
SHELL = dict(pair.split("=") for pair in SHELL.split())


@pytest.mark.parametrize("knob", [*WRONG, "SERVER=x", "PORT={}"])
def test_bad_knob_and_taken_port_are_one_line_and_nothing_starts(knob):
    with socket.create_server(("127.0.0.1", 0)) as other:
        knob = knob.format(other.getsockname()[1])
        status, output, errors = run_make("run-asgi", knob)
    assert (status, output, len(errors)) == (2, "", 1)
    assert re.search(rf"{knob}[ :].* try .*{knob[:4]}", errors[0])


@pytest.mark.parametrize(("target", "knobs", "words"), ANNOUNCED)
def test_what_is_announced(target, knobs, words):
    """The words alone; that they are true, test_post.py and test_servers.py show."""
    host = knobs.get("HOST", "127.0.0.1")
    command = [sys.executable, ".preflight.py", target, host, "0"]
    announced = run(command, DEFAULTS | knobs)[1].strip()
    assert re.fullmatch(f"Open http://localhost:0/ {words}", announced)


def test_make_clean_deletes_a_venv_and_nothing_around_the_project(project):
    (project / "new").mkdir()
    for folder in project, project / "new":
        (folder / ".demo").touch()
    for venv, status in (project, 2), (project / "tests", 2), (project / "new", 0):
        assert run(["make", "-C", project, "clean", f"VENV={venv}"])[0] == status


def test_another_projects_settings_mislead_no_installation(tmp_path):
    show = tmp_path / "show.mk"
    show.write_text("show:; @env")
    files = ("--file=Makefile", f"--file={show}")
    _, output, _ = run_make("show", *files, environment=SHELL)
    lines = output.splitlines()
    passed = {name for name, value in SHELL.items() if f"{name}={value}" in lines}
    assert {name for name in passed if name.startswith("PIP_")} == set()
    assert {name for name in passed if name.startswith("PYTHON")} == {"PYTHONPATH"}


@pytest.mark.parametrize("target", ["run-wsgi", "run-asgi"])
def test_another_projects_settings_mislead_no_server_and_no_program(target):
    with patch.dict(os.environ, SHELL), Server(target) as server:
        page = httpx.get(f"{server.url}/none", timeout=20)
    assert (page.status_code, "DEBUG" in page.text) == (404, False)
    assert "streams" in run_make("bench", "STREAMS=x", environment=SHELL)[2][-1].lower()
