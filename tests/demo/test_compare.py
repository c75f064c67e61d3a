"""What `make compare` draws, prints and leaves behind."""

# ruff: noqa: RUF001, for the sign of a cut

import io
import re
import signal
import sys
import time
from functools import partial
from subprocess import PIPE

import psutil
import pytest
from rich.console import Console

from tests.programs.compare import Comparison, plan, read_knobs
from tests.support.server import make, run, run_make, running, signal_group
from tests.support.simulated_tab import Record

pytestmark = pytest.mark.slow


def count(begin, end):
    """A number per second, from 100."""
    return [(begin + n, "number", 100 - n) for n in range(int(end - begin) + 1)]


OPEN, CUT, RETRY = (0, "open"), (30.2, "cut", 70), (33, "retry")
SEEN = {
    "WSGI": [
        [OPEN, (0.1, "page"), *count(0.1, 30.1), CUT, RETRY],
        [(1, "open"), (30.6, "page"), *count(30.7, 45)],
    ],
    "WSGI --threads 2": [[OPEN], []],
    "ASGI": [
        [OPEN, (0.1, "page"), *count(0.2, 45)],
        [(1, "open"), (1.1, "page"), *count(1.2, 41), (42, "blastoff")],
    ],
}
PICTURE = """\
2 tabs, opened one second apart on each of three servers, count down from 100.

WSGI: gunicorn, 1 sync worker
  tab 1  ■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■×70  ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ waits
  tab 2   ········································╌■■■■■■■■■■■■■■■■■■■ 86

WSGI --threads 2: gunicorn with these options
  tab 1  ····························································· waits
  tab 2

ASGI: uvicorn, 1 worker
  tab 1  ■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■ 56
  tab 2   ╌■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■ Blastoff!
         ╵     ╵      ╵      ╵      ╵     ╵      ╵      ╵      ╵      ╵
seconds  0     5      10     15     20    25     30     35     40     45
··· waits for its page   ╌╌╌ waits for an event   ■■■ counts   ×N cut at N

after 45 s                     WSGI   WSGI --threads 2     ASGI
events delivered                 46                  0       85
worker timeouts in the log        0                  0        0
tabs that counted at once    1 of 2             0 of 2   2 of 2
"""


def test_picture():
    console = Console(width=80, file=io.StringIO())
    comparison = Comparison(read_knobs(["--tabs=2"]), console)
    comparison.now = comparison.knobs.seconds = 45
    for each in comparison.runs:
        each.tabs[:] = [[Record(*record) for record in tab] for tab in SEEN[each.name]]
    comparison.report()
    lines = console.file.getvalue().splitlines()
    assert [line.rstrip() for line in lines] == PICTURE.splitlines()


def test_knobs_reach_every_server():
    given = {"SERVER": "gunicorn", "WORKERS": 2, "COUNT": 10, "TICK": 0.1}
    knobs = ["--server=gunicorn", "--workers=2", "--count=10", "--tick=.5", "--fast=1"]
    runs = [*plan(read_knobs([*knobs, "--gunicorn_cmd_args=--timeout 0"]))]
    assert all(given.items() <= run.server.variables.items() for run in runs)
    options = [run.server.variables["GUNICORN_CMD_ARGS"] for run in runs]
    fast = "--timeout 6 --preload --timeout 0"
    assert options == [fast, f"{fast} --threads 2", fast]
    names = ["WSGI --timeout 0", "WSGI --timeout 0 --threads 2", "ASGI --timeout 0"]
    assert [run.name for run in runs] == names
    assert runs[2].description == "gunicorn, 2 asgi workers"


def test_three_servers_in_a_pipe(tmp_path):
    picture = tmp_path / "picture.svg"
    command = [sys.executable, "-m", "tests.programs.compare", "--svg", picture]
    _, output, _ = run(command, {"FAST": "1"})
    assert max(map(len, output.splitlines())) <= 80
    assert re.search(r"timeouts in the log +1 +0 +0\n", output)
    assert output.endswith(" 1 of 3             2 of 3   3 of 3\n")
    assert "tabs&#160;that&#160;counted" in picture.read_text()
    assert "@font-face" not in picture.read_text()  # which a viewer would fetch


def test_bad_gunicorn_options():
    _, _, errors = run_make("compare", "GUNICORN_CMD_ARGS=--nonsense")
    assert any(line.endswith("--nonsense") for line in errors)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("seconds", [0, 3])
def test_no_process_is_left(seconds, end):
    """Whenever it is ended. It prints the picture so far, in which nothing is cut."""
    with running(make("compare"), stdout=PIPE, stderr=PIPE) as process:
        inside = partial(psutil.Process(process.pid).children, recursive=True)
        deadline = time.monotonic() + 40
        while len(inside()) < 8:  # with the servers
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(seconds)
        processes = inside()
        if end == signal.SIGHUP:
            process.stdout.close()  # as a terminal that is closed
        signal_group(process, end)
        assert not psutil.wait_procs(processes, timeout=40)[1]
        assert "Traceback" not in process.stderr.read()
        if end == signal.SIGINT and seconds:
            report = process.stdout.read()
            assert "tabs that counted at once" in report
            assert report.count("\N{MULTIPLICATION SIGN}") == 1  # the legend's
