"""What an open event stream costs: this project beside other ways to serve it.

    make bench [STREAMS=1000] [TICK=1]

Every alternative serves the same from a fresh server. A stream is on time if its latest
event is at most two ticks and half a second old.
"""

import argparse
import asyncio
import os
import resource
import shlex
import sys
import time
from importlib.metadata import version

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.programs.common import add_knobs, run_program, serving
from tests.support.load import fetch_page, open_streams
from tests.support.server import Server

# What make starts. {n} is more than the number of streams; gunicorn's default is 1,000.
LIMIT = "--worker-connections {n}"
ALTERNATIVES = {
    "this project": "run-asgi ASGI=app:asgi_application",
    "Django's own": "run-asgi ASGI=tests.programs.alternatives:stock",
    "Starlette": "run-asgi ASGI=tests.programs.alternatives:starlette",
    "bare ASGI": "run-asgi ASGI=tests.programs.alternatives:bare",
    "gunicorn sync": "run-wsgi GUNICORN_CMD_ARGS=",
    "gunicorn threads": f"run-wsgi GUNICORN_CMD_ARGS='--threads {{n}} {LIMIT}'",
    "gunicorn gevent": f"run-wsgi GUNICORN_CMD_ARGS='--worker-class gevent {LIMIT}'",
    "gunicorn asgi": f"run-asgi SERVER=gunicorn GUNICORN_CMD_ARGS='{LIMIT}'",
}
COLUMNS = (
    *("streams\non time", "\nthreads", "KB per\nstream"),
    *("µs to\nopen one", "µs per\nevent", "µs per\npage"),
)
COUNT = 9999  # no stream ends before it is measured
PAGES = 1000
SPARE = 100  # connections, threads and files for everything else than the streams
PATIENCE = 4  # seconds without another stream, after which the server is full


async def measure(command, number, tick):
    """Measure a fresh server; return its row, with None for a cost that is unknown."""
    target, *variables = shlex.split(command.format(n=number + SPARE))
    variables = dict(variable.split("=", 1) for variable in variables)
    # By default uvicorn writes an access log, and gunicorn does not.
    server = Server(target, COUNT=COUNT, TICK=tick, UVICORN_ACCESS_LOG=0, **variables)
    async with serving(server):
        for stream in await open_streams(server.port, 1, PATIENCE):
            stream.transport.abort()  # the first stream also costs some imports
        page = await page_cost(server)
        return [*await stream_costs(server, number, tick), page]


async def page_cost(server):
    """The microseconds of CPU that the worker takes for a plain page."""
    worker = server.worker()
    before = cpu(worker)
    for _ in range(PAGES):
        await fetch_page(server.port)
    return (cpu(worker) - before) / PAGES


async def stream_costs(server, number, tick):
    """Open the streams and watch them for some events; return what they cost."""
    worker = server.worker()
    idle, memory = cpu(worker), worker.memory_full_info().uss
    streams = await open_streams(server.port, number, PATIENCE)
    opened, before, threads = cpu(worker), events(streams), worker.num_threads()
    await asyncio.sleep(max(1, 5 * tick))
    watched, after = cpu(worker), events(streams)
    soon = time.perf_counter() - 2 * tick - 0.5
    on_time = sum(not s.transport.is_closing() and s.times[-1] > soon for s in streams)
    # Fewer streams than the others have are less work, and those of a few are noise.
    if len(streams) < max(number, 100):
        return on_time, threads, None, None, None
    kilobytes = (worker.memory_full_info().uss - memory) / 1000 / number
    event = (watched - opened) / (after - before)
    return on_time, threads, kilobytes, (opened - idle - before * event) / number, event


def cpu(process):
    """The microseconds of CPU that a process has used."""
    times = process.cpu_times()
    return (times.user + times.system) * 1e6


def events(streams):
    return sum(len(stream.times) for stream in streams)


def table(rows, knobs):
    """A row for each alternative so far; one that is being measured has no numbers."""
    title = f"{knobs.streams:,} streams, an event every {knobs.tick:g} s in each"
    look = {"box": SIMPLE_HEAD, "pad_edge": False, "show_edge": False}
    result = Table(title=f"{title}; µs of CPU time", title_justify="left", **look)
    result.add_column(min_width=max(map(len, ALTERNATIVES)))
    for column in COLUMNS:
        result.add_column(column, justify="right", vertical="bottom")
    for name, row in rows.items():
        cells = ("-" if number is None else f"{number:,.0f}" for number in row)
        result.add_row(name, *cells if row else ["..."])
    return result


async def bench(knobs, console):
    """Measure one alternative after the other."""
    rows = {}
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            for name, command in ALTERNATIVES.items():
                live.update(table(rows | {name: []}, knobs), refresh=True)
                rows[name] = await measure(command, knobs.streams, knobs.tick)
    finally:
        console.print(table(rows, knobs))


def main():
    parser = argparse.ArgumentParser(prog="make bench", usage=argparse.SUPPRESS)
    add_knobs(parser, STREAMS=int, TICK=float)
    knobs = parser.parse_args()
    if knobs.streams < 1:
        parser.error(f"STREAMS={knobs.streams}: must be at least 1")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = min(knobs.streams + 2 * SPARE, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))  # servers inherit it
    console = Console(highlight=False, markup=False, soft_wrap=True)
    packages = "django", "uvicorn", "gunicorn", "gevent", "starlette"
    used = [sys.version.split()[0], *(f"{name} {version(name)}" for name in packages)]
    console.print("Python", ", ".join([*used, f"{os.cpu_count()} cores"]))
    sys.exit(run_program(bench(knobs, console)))


if __name__ == "__main__":
    main()
