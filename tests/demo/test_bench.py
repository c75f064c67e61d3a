"""`make bench`: its table and its files, what cannot be measured, its end."""

import io
import json
import os
import signal
import time
from xml.etree import ElementTree

import psutil
import pytest
from rich.console import Console

from tests.programs import bench
from tests.programs.bench_report import table
from tests.support.knobs import KNOBS
from tests.support.server import start_make

pytestmark = pytest.mark.slow


def start_bench(**variables):
    return start_make("bench", *(f"{name}={v}" for name, v in variables.items()))


def test_every_contestant_has_its_figures_a_row_and_bars(tmp_path):
    files = {"JSON": tmp_path / "figures.json", "SVG": tmp_path / "plot.svg"}
    process = start_bench(STREAMS=100, TICK=0.2, **files)
    out, err = process.communicate(timeout=170)
    assert (process.returncode, err) == (0, "")
    assert out.partition("100 streams")[0].endswith("This takes about 0.7 minutes.\n\n")
    figures = json.loads(files["JSON"].read_text())["figures"]
    assert [f["contestant"] for f in figures] == [*bench.CONTESTANTS]
    check(*figures)
    shown = render([bench.Figures(**f) for f in figures])
    assert [line.rstrip() for line in out.splitlines()][3:-1] == shown
    texts = [*ElementTree.parse(files["SVG"]).getroot().itertext()]
    assert {*bench.CONTESTANTS} < {*texts}
    assert texts.count("-") == 3


def check(ours, djangos, starlette, bare, sync, threads, gevent):
    """Check the differences that no noise can hide."""
    for f in (ours, djangos, starlette, bare, threads, gevent):
        assert f["on_time"] > 50
        assert f["threads"] > 100 if f in (djangos, threads) else f["threads"] < 20
        assert min(f["event_cpu"], f["page_cpu"]) > 20e-6
    # One stream is all there is, and its worker is taken.
    assert (sync["on_time"], sync["memory"], sync["event_cpu"]) == (1, None, None)
    assert sync["page_cpu"] > 20e-6


def render(figures):
    """The table's lines on a terminal of 80 columns."""
    console = Console(width=80, file=io.StringIO())
    console.print(table(figures))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_table_fits_a_terminal_and_has_dashes():
    most = bench.Figures("gunicorn threads", 5000, 1, 4999, 10005, 1e5, 0.05, 1e-3, 0.1)
    none = bench.Figures("none", 5000, 1)
    title, *_, first, second = render([most, none])
    assert title == "5,000 streams, an event every second in each; µs of CPU time"
    row = "gunicorn threads 4,999 10,005 100.0 50,000 1,000 100,000"
    assert " ".join(first.split()) == row
    assert second.split() == ["none", *"------"]


def test_server_that_does_not_start_has_a_message_and_no_figures(monkeypatch):
    monkeypatch.setitem(bench.CONTESTANTS, "none", "run-asgi ASGI=no_such:module")
    console = Console(file=io.StringIO())
    assert bench.measure("none", 100, 1, console) == bench.Figures("none", 100, 1)
    assert 'Could not import module "no_such"' in console.file.getvalue()


def test_default_takes_less_than_four_minutes():
    assert bench.estimate(bench.numbers(KNOBS["STREAMS"]), tick=1) < 4 * 60


@pytest.mark.parametrize("command", ["make run-asgi", "uvicorn app:asgi_application"])
def test_ctrl_c_leaves_nothing_behind(command):
    process = start_bench(STREAMS=10)
    started = []
    while not any(command in line for line in commands(started)):
        assert process.poll() is None
        time.sleep(0.05)
        started = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT  # a shell calls it 130
    assert "Traceback" not in err
    assert not psutil.wait_procs(started, timeout=5)[1]


def commands(processes):
    for process in processes:
        try:
            yield " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            yield ""
