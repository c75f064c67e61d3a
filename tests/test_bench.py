"""`make bench`: its table, its files, its knobs, its end."""

import json
import os
import signal
import time
from xml.etree import ElementTree

import psutil
import pytest
from harness import run_make, start_make

CONTESTANTS = ["this project", "Django's own", "Starlette", "bare ASGI"]
CONTESTANTS += ["gunicorn sync", "gunicorn 100 threads"]


def start_bench(**variables):
    return start_make("bench", *(f"{name}={v}" for name, v in variables.items()))


def test_bench_shows_every_contestant(tmp_path):
    files = {"JSON": tmp_path / "figures.json", "SVG": tmp_path / "plot.svg"}
    bench = start_bench(STREAMS=10, **files)
    out, err = bench.communicate(timeout=150)
    assert (bench.returncode, err) == (0, "")
    assert "\x1b" not in out
    assert row(out, "streams open") == ["10", "10", "10", "10", "1", "10"]
    assert row(out, "... with every event") == ["10", "10", "10", "10", "1", "10"]
    assert row(out, "... x bare ASGI")[3] == "1.00"
    assert row(out, "/ meanwhile, median, ms")[4] == "-"  # its one worker is taken
    check_figures(json.loads(files["JSON"].read_text())["figures"])
    texts = list(ElementTree.parse(files["SVG"]).getroot().itertext())
    assert set(CONTESTANTS) <= set(texts)


def row(out, label):
    """The values of the table's first row with that label."""
    line = next(line for line in out.splitlines() if line.strip().startswith(label))
    return line.strip().removeprefix(label).split()


def check_figures(figures):
    assert [f["contestant"] for f in figures] == CONTESTANTS
    held = [f["threads"] - f["idle_threads"] for f in figures]
    assert held[0] <= 4
    assert held[1] >= 9  # the idle server may have had one
    assert all(f["open_cpu"] > 0 for f in figures[:4])
    assert all(f["page"] > 0 for f in figures[:4])
    assert all(f["event_cpu"] > 0 for f in figures)
    assert all(f["gap"] > f["tick"] / 2 for f in figures)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("STREAMS", "x"),
        ("STREAMS", "0"),
        ("STREAMS", "10,"),
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
