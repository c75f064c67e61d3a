"""`make bench`: its table, whose figures differ as they must."""

import re
import sys

import pytest

from tests.support.server import run

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
    "gunicorn asgi": (100, FEW),
}


@pytest.mark.slow
def test_every_alternative_has_a_row_and_the_figures_differ_as_they_must():
    command = [sys.executable, "-m", "tests.programs.bench"]
    knobs = {"STREAMS": "100", "TICK": "0.2"}
    status, output, errors = run(command, knobs, timeout=120)
    assert (status, errors) == (0, "")
    _, title, *_, lines = re.split("(100 streams, .*)|─+\n", output)
    assert title.startswith("100 streams, an event every 0.2 s in each")
    rows = [re.split("  +", line.strip()) for line in lines.splitlines()]
    assert [name for name, *_ in rows] == [*ROWS]
    for (streams, few_or_many), row in zip(ROWS.values(), rows, strict=True):
        _, on_time, threads, *costs, _ = row
        assert int(on_time) in range(streams // 2, streams + 1), row
        assert int(threads) in few_or_many, row
        assert (costs == ["-"] * 3) == (streams == 1), row  # not comparable
