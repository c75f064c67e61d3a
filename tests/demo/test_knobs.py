"""Knobs: a bad one ends in one line; what is said of the others is true."""

import re
import socket
import sys

import pytest

from tests.support.server import free_port, run, run_make

WHOLE, FILE = "must be a whole number", "must be a file in a writable folder"
BAD = [
    ("run-wsgi", "COUNT=ten", f"{WHOLE} >= 0"),
    ("run-asgi", "COUNT=-1", f"{WHOLE} >= 0"),
    ("run-asgi", "COUNT=1.5", f"{WHOLE} >= 0"),
    ("run-asgi", "COUNT=", f"{WHOLE} >= 0"),
    ("run-wsgi", "TICK=fast", "must be a number >= 0"),
    ("run-asgi", "TICK=nan", "must be a number >= 0"),
    ("run-asgi", "TICK=inf", "must be a number >= 0"),
    ("run-wsgi", "DEBUG=yes", "must be 1, or 0 for off"),
    ("run-wsgi", "WORKERS=0", f"{WHOLE} >= 1"),
    ("run-asgi", "WORKERS=two", f"{WHOLE} >= 1"),
    ("run-wsgi", "PORT=x", f"{WHOLE} from 0 to 65535"),
    ("run-asgi", "PORT=99999", f"{WHOLE} from 0 to 65535"),
    ("run-asgi", "GUNICORN=--threads 4", "make run-asgi has no use for GUNICORN"),
    ("run-wsgi", "TABS=4", "make run-wsgi has no use for TABS"),
    ("tabs", "TABS=13", f"{WHOLE} from 1 to 12"),
    ("tabs", "PORT=x", f"{WHOLE} from 1 to 65533"),
    ("tabs", "FAST=1", "make tabs has no use for FAST"),
    ("compare", "TABS=0", f"{WHOLE} from 1 to 40"),
    ("compare", "SECONDS=1.5", f"{WHOLE} from 1 to 3600"),
    ("compare", "SECONDS=2", "must be at least TABS=3: a tab opens every second"),
    ("compare", "FAST=yes", "must be 1, or 0 for off"),
    ("compare", "GUNICORN=--daemon", "must be without --daemon"),
    ("compare", "SVG=/", FILE),
    ("compare", "HOST=0.0.0.0", "make compare has no use for HOST"),
    ("bench", "STREAMS=10,", "must be whole numbers >= 1, such as 10,1000"),
    ("bench", "TICK=0", "must be a number from 0.02 to 60"),
    ("bench", "JSON=/no/such/folder/figures.json", FILE),
    ("bench", "WORKERS=2", "make bench has no use for WORKERS"),
    (
        "compare",
        "GUNICORN_CMD_ARGS=-k x",
        "make compare has no use for GUNICORN_CMD_ARGS",
    ),
    ("test", "COUNT=10", "make test has no use for COUNT"),
]


@pytest.mark.parametrize(("target", "knob", "message"), BAD)
def test_bad_knob_is_one_line_and_nothing_starts(target, knob, message):
    status, output, errors = run_make(target, knob)
    assert status != 0
    assert (output, errors) == ("", [f"{knob}: {message}"])


@pytest.mark.parametrize(("target", "knob"), [("compare", "FAST"), ("tabs", "PORT")])
def test_knob_may_stand_before_make_as_well_as_behind(target, knob):
    for arguments, environment in (([f"{knob}=x"], {}), ([], {knob: "x"})):
        status, _, errors = run_make(target, *arguments, environment=environment)
        assert (status, errors[0][:14]) == (2, f"{knob}=x: must be"[:14])


def test_names_of_shell_variables_count_behind_make_alone():
    environment = {"HOST": "x86_64-conda-linux-gnu", "SECONDS": "x"}
    _, _, errors = run_make("compare", "TABS=0", environment=environment)
    assert errors == ["TABS=0: must be a whole number from 1 to 40"]


@pytest.mark.parametrize("target", ["run-wsgi", "run-asgi"])
def test_port_in_use(target):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, output, errors = run_make(target, f"PORT={port}")
    assert status != 0
    assert (output, len(errors)) == ("", 1)
    assert re.search(f"PORT={port}: .*in use.*: try make {target} PORT=8080", errors[0])


WSGI = [
    (
        {},
        "3 tabs",
        "one tab counts, the others stay blank; at about 70 a stream is cut",
    ),
    ({"WORKERS": 3}, "4 tabs", "up to 3 tabs count, the others .*; at about 70"),
    ({"TICK": 0.5}, "3 tabs", "one tab counts, the others stay blank; at about 40 a"),
    ({"COUNT": 10}, "3 tabs", "one tab counts, the others stay blank; they have their"),
    ({"GUNICORN": "--timeout 0"}, "3 tabs", "one tab counts, .*; they have their turn"),
    ({"GUNICORN": "--threads 4"}, "5 tabs", "up to 4 tabs count, .*; they have"),
    ({"GUNICORN_CMD_ARGS": "-k gevent"}, "3 tabs", "all of them count at once, and no"),
    ({"GUNICORN": "--workers 4"}, "5 tabs", "up to 4 tabs count, .* at about 70"),
    ({"GUNICORN": "--threads 9"}, "10 tabs, by the link on the page", "up to 9 tabs"),
]
ASGI = [
    ({}, "3 tabs, more by the link on the page", "all .* at once, .*, on one worker"),
    ({"WORKERS": 2}, "3 tabs, more by the link", "all .* count at once, .* 2 workers"),
]
STORIES = [("run-wsgi", *s) for s in WSGI] + [("run-asgi", *s) for s in ASGI]


@pytest.mark.parametrize(("target", "knobs", "tabs", "story"), STORIES)
def test_what_to_watch(target, knobs, tabs, story):
    """The words alone; that they are true, test_post.py and test_servers.py show."""
    environment = {"PORT": str(free_port())}
    environment |= {name: str(value) for name, value in knobs.items()}
    command = [sys.executable, ".preflight.py", target]
    status, output, _ = run(command, environment)
    assert status == 0
    assert re.search(rf"open http://localhost:\d+/ in {tabs}", output)
    assert re.search(f"\nWatch: {story}", output)


def test_address_for_other_devices():
    environment = {"HOST": "0.0.0.0"}
    command = [sys.executable, ".preflight.py", "run-asgi", "--port", str(free_port())]
    _, output, _ = run(command, environment)
    assert re.search(r"open http://localhost:\d+/ \(on another device http://", output)
