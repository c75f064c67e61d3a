"""`make bench`: its table, whose figures differ as they must, and its end."""

import os
import re
import signal
import sys
import time

import psutil
import pytest

from tests.support.server import run, running

pytestmark = pytest.mark.slow
BENCH = [sys.executable, "-m", "tests.programs.bench"]
# How many threads 100 streams need, and how many of the streams are served.
FEW, ONE_EACH = range(1, 20), range(100, 120)
ROWS = {
    "this project": (100, FEW),
    "Django's own": (100, ONE_EACH),
    "Starlette": (100, FEW),
    "bare ASGI": (100, FEW),
    "gunicorn sync": (1, FEW),
    "gunicorn threads": (100, ONE_EACH),
    "gunicorn gevent": (100, FEW),
}


def test_every_contestant_has_a_row_and_the_figures_differ_as_they_must():
    knobs = {"STREAMS": "100", "TICK": "0.2"}
    status, output, errors = run(BENCH, knobs, timeout=120)
    assert (status, errors) == (0, "")
    assert "\n100 streams, an event every 0.2 s in each" in output
    assert max(map(len, output.splitlines()[1:])) <= 80
    rows = re.findall(
        r"^(.{,16}?) +(\d+) +(\d+) +(\S+) +(\S+) +(\S+) +\d+ *$", output, re.M
    )
    assert [name for name, *_ in rows] == [*ROWS]
    for (on_time, threads), (name, *figures) in zip(ROWS.values(), rows, strict=True):
        assert int(figures[0]) in range(on_time // 2, on_time + 1), name
        assert int(figures[1]) in threads, name
        assert (figures[2:] == ["-"] * 3) == (on_time == 1), name  # not comparable


def test_ctrl_c_leaves_nothing_behind():
    with running(BENCH, {"STREAMS": "10"}) as process:
        started = []
        while not any("app:asgi_application" in p.cmdline() for p in started):
            assert process.poll() is None
            time.sleep(0.05)
            started = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
        assert not psutil.wait_procs(started, timeout=5)[1]
