"""`make bench`: its tables, its files, its knobs, its end."""

import io
import json
import os
import signal
import time
from xml.etree import ElementTree

import psutil
import pytest
from bench import CONTESTANTS, Figures, make_plans
from bench_report import duration, heading, table
from harness import start_make
from knobs import KNOBS
from rich.console import Console

pytestmark = pytest.mark.slow
NAMES = ["this project", "Django's own", "Starlette", "bare ASGI"]
OPEN, ON_TIME, THREADS, MEMORY, OPEN_CPU, CPU, GAP, PAGE, STOP = range(9)
NAMES += ["gunicorn sync", "gunicorn threads", "gunicorn gevent"]


def start_bench(**variables):
    return start_make("bench", *(f"{name}={v}" for name, v in variables.items()))


def run_bench(tmp_path, **knobs):
    """Measure 100 streams; return the output, the figures and the plot's texts."""
    files = {"JSON": tmp_path / "figures.json", "SVG": tmp_path / "plot.svg"}
    bench = start_bench(STREAMS=100, TICK=0.2, **files, **knobs)
    out, err = bench.communicate(timeout=170)
    assert (bench.returncode, err) == (0, "")
    assert "\x1b" not in out
    texts = ElementTree.parse(files["SVG"]).getroot().itertext()
    return out, json.loads(files["JSON"].read_text())["figures"], list(texts)


def column(out, number):
    """The values of one of the table's columns, which follow the names."""
    lines = out.splitlines()
    rows = [(name, x) for x in lines for name in NAMES if x.startswith(name)]
    return [line.removeprefix(name).split()[number] for name, line in rows]


def test_bench_shows_every_contestant(tmp_path):
    out, figures, texts = run_bench(tmp_path)
    assert "This takes about" in out.partition("100 streams:")[0]
    assert column(out, OPEN) == ["100"] * 4 + ["1", "100", "100"]
    assert column(out, ON_TIME) == column(out, OPEN)
    # One stream is all there is, and its worker is taken.
    assert [column(out, cost)[4] for cost in (MEMORY, CPU, PAGE)] == ["-"] * 3
    assert [f["contestant"] for f in figures] == NAMES
    assert set(NAMES) <= set(texts)
    check_costs(figures)


def check_costs(figures):
    this, djangos, *_, threads, gevent = figures
    assert this["threads"] - this["idle_threads"] <= 4
    assert gevent["threads"] - gevent["idle_threads"] <= 4
    assert djangos["threads"] > 100
    assert threads["threads"] > 100
    several = [f for f in figures if f["opened"] > 1]
    assert all(f["event_cpu"] > 0 and f["page"] > 0 for f in several)
    assert all(f["gap"] > f["tick"] / 2 and f["stop"] < 9 for f in figures)


def test_table_fits_a_terminal_and_says_what_a_server_cannot_do():
    most = (5000, 4999, 1, 5005, 25e3, 2e-3, 1e-4, 1.005, 6e-3, 7)
    figures = [
        Figures("gunicorn threads", 5000, 1, False, *most),
        Figures("few", 5000, 1, False, opened=1),
        Figures("none", 5000, 1, False),
    ]
    console = Console(width=80, file=io.StringIO())
    console.print(table(figures))
    *_, best, few, none = console.file.getvalue().splitlines()
    full = "gunicorn threads 5,000 4,999 5,005 25.0 2,000 100 1,005 6.0 7.0"
    rows = [full, "few 1 0 0 - - - - - no", "none 0 0 0 - - - - - -"]
    assert [" ".join(line.split()) for line in (best, few, none)] == rows


def test_heading_says_how_busy():
    calm, busy = make_plans([1000], tick=1)
    assert (
        heading(calm) == "1,000 streams at the post's pace: an event a second in each"
    )
    assert (
        heading(busy) == "1,000 busy streams: 8 events a second in each, 8,000 in all"
    )


def test_default_takes_about_six_minutes():
    plans = make_plans([int(number) for number in KNOBS["STREAMS"].split(",")], tick=1)
    seconds = sum(plan.estimate for plan in plans) * len(CONTESTANTS)
    assert 60 < seconds < 6.5 * 60
    assert (duration(44), duration(301)) == ("40 seconds", "6 minutes")


@pytest.mark.parametrize("command", ["make run-asgi", "uvicorn app:asgi_application"])
def test_ctrl_c_leaves_nothing_behind(command):
    bench = start_bench(STREAMS=10)
    started = []
    while not any(command in line for line in commands(started)):
        assert bench.poll() is None
        time.sleep(0.05)
        started = psutil.Process(bench.pid).children(recursive=True)
    os.killpg(bench.pid, signal.SIGINT)
    _, err = bench.communicate(timeout=30)
    assert bench.returncode == -signal.SIGINT  # a shell calls it 130
    assert "Traceback" not in err
    assert not psutil.wait_procs(started, timeout=5)[1]


def commands(processes):
    for process in processes:
        try:
            yield " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            yield ""
