"""`make bench`: its tables, its files, its knobs, its end."""

import io
import json
import os
import re
import signal
import time
from xml.etree import ElementTree

import psutil
import pytest
from bench import CONTESTANTS, STREAMS, Figures, make_plans
from bench_report import duration, heading, table
from harness import run_make, start_make
from rich.console import Console

SERVERS = ["uvicorn", "hypercorn", "daphne", "granian", "gunicorn asgi"]
NAMES = ["this project", "Django's own", "Starlette", "bare ASGI"]
NAMES += ["gunicorn sync", "gunicorn threads", "gunicorn gevent"]


def start_bench(**variables):
    return start_make("bench", *(f"{name}={v}" for name, v in variables.items()))


def run_bench(tmp_path, **knobs):
    """Measure ten streams; return the output, the figures and the plot's texts."""
    files = {"JSON": tmp_path / "figures.json", "SVG": tmp_path / "plot.svg"}
    bench = start_bench(STREAMS=10, TICK=0.2, **files, **knobs)
    out, err = bench.communicate(timeout=170)
    assert (bench.returncode, err) == (0, "")
    assert "\x1b" not in out
    texts = ElementTree.parse(files["SVG"]).getroot().itertext()
    return out, json.loads(files["JSON"].read_text())["figures"], list(texts)


def row(out, label):
    """The values of the table's first row with that label."""
    line = next(line for line in out.splitlines() if line.strip().startswith(label))
    return line.strip().removeprefix(label).split()


def test_bench_shows_every_contestant(tmp_path):
    out, figures, texts = run_bench(tmp_path)
    assert "This takes about" in out.partition("10 streams:")[0]
    assert row(out, "streams open") == ["10", "10", "10", "10", "1", "10", "10"]
    assert row(out, "... and complete") == row(out, "streams open")
    for label in ("memory per stream", "CPU to open one", "CPU per event"):
        assert row(out, label)[-3] == "-"  # one stream is all there is
    assert row(out, "page load meanwhile, ms")[4] == "-"  # its one worker is taken
    assert [f["contestant"] for f in figures] == NAMES
    assert set(NAMES) <= set(texts)
    check_costs(figures)


def check_costs(figures):
    this, djangos, *_, threads, gevent = figures
    assert this["threads"] - this["idle_threads"] <= 4
    assert gevent["threads"] - gevent["idle_threads"] <= 4
    assert djangos["threads"] > 10
    assert threads["threads"] > 10
    several = [f for f in figures if f["opened"] > 1]
    assert all(f["event_cpu"] > 0 and f["page"] > 0 for f in several)
    assert all(f["gap"] > f["tick"] / 2 and f["stop"] < 9 for f in figures)


def test_bench_shows_every_server(tmp_path):
    out, figures, texts = run_bench(tmp_path, SERVERS=1)
    assert row(out, "streams open") == row(out, "... and complete") == ["10"] * 5
    assert [f["contestant"] for f in figures] == SERVERS
    assert set(SERVERS) <= set(texts)
    assert all(f["event_cpu"] > 0 and f["page"] > 0 for f in figures)
    stops = row(out, "stops after Ctrl-C, s")
    assert len(stops) == 5
    assert float(stops[0]) < 3


def test_table_of_what_a_server_cannot_do():
    figures = [
        Figures("one", 10, 1, False, 10, 9, 1, 11, 2e3, 3e-6, 4e-6, 1.005, 6e-3, 7),
        Figures("few", 10, 1, False, opened=1),
        Figures("none", 10, 1, False),
    ]
    console = Console(width=80, file=io.StringIO())
    console.print(table(figures))
    lines = [line.strip() for line in console.file.getvalue().splitlines()]
    begin = lines.index("streams open                  10    1     0")
    rows = [re.split("  +", line) for line in lines[begin:] if line]
    assert rows == [
        ["streams open", "10", "1", "0"],
        ["... and complete", "9", "0", "0"],
        ["threads", "11", "0", "0"],
        ["... above the idle server", "+10", "+0", "+0"],
        ["memory per stream, KB", "2.0", "-", "-"],
        ["CPU to open one, µs", "3", "-", "-"],
        ["CPU per event, µs", "4", "-", "-"],
        ["gap, 99th percentile, ms", "1,005", "-", "-"],
        ["page load meanwhile, ms", "6.0", "-", "-"],
        ["stops after Ctrl-C, s", "7.0", "no", "-"],
    ]


def test_heading_says_how_busy():
    calm, busy = make_plans([1000], tick=1)
    assert (
        heading(calm) == "1,000 streams at the post's pace: an event a second in each"
    )
    assert (
        heading(busy) == "1,000 busy streams: 8 events a second in each, 8,000 in all"
    )


def test_default_takes_about_six_minutes():
    plans = make_plans([int(number) for number in STREAMS.split(",")], tick=1)
    seconds = sum(plan.estimate for plan in plans) * len(CONTESTANTS)
    assert 60 < seconds < 6.5 * 60
    assert (duration(44), duration(301)) == ("40 seconds", "6 minutes")


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("STREAMS", "x"),
        ("STREAMS", "0"),
        ("STREAMS", "10,"),
        ("TICK", "0"),
        ("TICK", "x"),
        ("TICK", "nan"),
        ("SERVERS", "uvicorn"),
        ("JSON", "/no/such/folder/figures.json"),
        ("SVG", "/"),
    ],
)
def test_bench_refuses_a_bad_knob(knob, value):
    status, output, errors = run_make("bench", f"{knob}={value}")
    assert len(errors) == 1
    assert errors[0].startswith(f"{knob}={value}: ")
    assert (status, output) == (2, "")


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
