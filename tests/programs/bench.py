"""What an open event stream costs: this project beside other ways to serve it.

    make bench STREAMS=1000,5000 TICK=1 JSON=figures.json SVG=plot.svg

Every contestant serves the same events and the same page from a fresh server with one
worker. CPU, threads and memory are those of all of the server's processes.
"""

import asyncio
import json
import os
import resource
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import psutil
from rich.console import Console

from tests.programs.bench_report import plot, table
from tests.support.knobs import Knobs, file, number, whole
from tests.support.load import PACE, fetch_page, open_streams
from tests.support.server import Server

# What make starts. Threads and gevent may take as many streams as there are: {n}.
CONTESTANTS = {
    "this project": "run-asgi ASGI=app:asgi_application",
    "Django's own": "run-asgi ASGI=tests.programs.foundations:stock",
    "Starlette": "run-asgi ASGI=tests.programs.foundations:starlette",
    "bare ASGI": "run-asgi ASGI=tests.programs.foundations:bare",
    "gunicorn sync": "run-wsgi GUNICORN=",
    "gunicorn threads": "run-wsgi GUNICORN=--threads {n} --worker-connections {n}",
    "gunicorn gevent": "run-wsgi GUNICORN=-k gevent --worker-connections {n}",
}
NO_ACCESS_LOG = {"UVICORN_ACCESS_LOG": 0}  # gunicorn writes none unless told
SHELLS = ("make", "sh", "bash", "dash")
COUNT = 9999  # no stream ends before it is measured
PAGES = 300
FEW = 100  # with fewer streams, what one of them costs is lost in the noise
SPARE = 100  # connections, threads, files: for all that is not a measured stream
PATIENCE = 4  # seconds without a further stream: the server opens no more
STARTING = 5  # seconds that a server takes to start, and to send the pages


@dataclass(frozen=True)
class Figures:
    """What one contestant did with a number of streams; None where it did nothing.

    tick: seconds between a stream's events; on_time: streams that had every event until
    the end, none late; memory: bytes per open stream; open_cpu (while others stream),
    event_cpu, page_cpu (while none does): seconds of CPU time.
    """

    contestant: str
    streams: int
    tick: float
    on_time: int | None = None
    threads: int | None = None
    memory: float | None = None
    open_cpu: float | None = None
    event_cpu: float | None = None
    page_cpu: float | None = None


class Usage(NamedTuple):
    """What a server had used at one moment, and the events that had arrived by then.

    cpu: seconds; memory: bytes that would be free if the server ended.
    """

    cpu: float
    events: int
    threads: int
    memory: int


def usage(processes, streams=()):
    """Add up what a server's processes have used, with these streams open."""
    return Usage(
        cpu=sum(map(cpu_seconds, processes)),
        events=sum(len(stream.times) for stream in streams),
        threads=sum(process.num_threads() for process in processes),
        memory=sum(p.memory_full_info().uss for p in processes),
    )


def cpu_seconds(process):
    """CPU time of a process: to the nanosecond on Linux, where psutil's is to 10 ms."""
    if sys.platform == "linux":
        return time.clock_gettime((~process.pid << 3) | 2)  # see clock_getcpuclockid(3)
    times = process.cpu_times()
    return times.user + times.system


def measure_all(streams, tick, console):
    """Measure every contestant, one after the other, with that many streams."""
    figures = []
    with console.status("") as status:
        for contestant in CONTESTANTS:
            status.update(f"{streams:,} streams: {contestant}")
            figures.append(measure(contestant, streams, tick, console))
    return figures


def measure(contestant, streams, tick, console):
    """Measure a fresh server; if it does not start or ends, say so, without figures."""
    try:
        figures = serve(CONTESTANTS[contestant], streams, tick)
    except (RuntimeError, OSError, psutil.Error) as error:
        console.print(f"{contestant}: {error}")
        figures = {}
    return Figures(contestant, streams, tick, **figures)


def serve(command, streams, tick):
    """Start a server, use it, and end it."""
    target, variable = command.format(n=streams + SPARE).split(maxsplit=1)
    variables = dict([variable.split("=", 1)], COUNT=COUNT, TICK=tick, **NO_ACCESS_LOG)
    with Server(target, **variables) as server:
        try:
            return asyncio.run(use(server, streams, tick))
        finally:
            server.kill()  # Ctrl-C takes a while where many streams are open


async def use(server, number, tick):
    """Load pages, then open the streams; return the figures."""
    await warm_up(server.port)
    children = psutil.Process(server.process.pid).children(recursive=True)
    processes = [p for p in children if p.name() not in SHELLS]
    begin = usage(processes)
    await load_pages(server.port, PAGES)
    page_cpu = (usage(processes).cpu - begin.cpu) / PAGES
    figures = await watch_streams(server.port, processes, number, tick)
    return {"page_cpu": page_cpu, **figures}


async def warm_up(port):
    """Have the server do everything once, which is when it imports what it needs."""
    for stream in await open_streams(port, 1, COUNT, PATIENCE):
        stream.transport.abort()
    await load_pages(port, 20)


async def load_pages(port, number):
    """One after the other, each on a new connection: a sync worker keeps none open."""
    for _ in range(number):
        await fetch_page(port)


async def watch_streams(port, processes, number, tick):
    """Open the streams and watch them; return what they cost."""
    idle = usage(processes)
    streams = await open_streams(port, number, COUNT, PATIENCE)
    opened = usage(processes, streams)
    await asyncio.sleep(window(tick))
    watched = usage(processes, streams)
    on_time = sum(is_on_time(stream, tick) for stream in streams)
    figures = {"on_time": on_time, "threads": opened.threads}
    # To open fewer streams than were asked for is less work, and not comparable.
    if len(streams) == number >= FEW:
        figures |= costs(number, idle, opened, watched)
    return figures


def window(tick):
    """The seconds to watch: at least one, and some events of each stream."""
    return max(1, 3 * tick)


def is_on_time(stream, tick):
    """Whether the stream goes on; it closes itself after an event out of order."""
    late = time.perf_counter() - stream.times[-1]
    return not stream.ended.done() and late < 2 * tick + 0.5


def costs(streams, idle, opened, watched):
    """What each of the streams cost."""
    events = watched.events - opened.events
    event_cpu = (watched.cpu - opened.cpu) / events if events else 0
    open_cpu = (opened.cpu - idle.cpu - opened.events * event_cpu) / streams
    return {
        "memory": (watched.memory - idle.memory) / streams,
        "event_cpu": event_cpu or None,
        "open_cpu": open_cpu if open_cpu > 0 else None,
    }


def main():
    """Read the knobs, measure, print a table for each number of streams."""
    knobs = read_knobs()
    console = Console(highlight=False, markup=False, soft_wrap=True)
    numbers = possible(knobs.streams, console)
    used = versions()
    minutes = estimate(numbers, knobs.tick) / 60
    console.print(f"{', '.join(used)}\nThis takes about {minutes:.1f} minutes.")
    figures = []
    for streams in numbers:
        block = measure_all(streams, knobs.tick, console)
        console.print("", table(block), "", sep="\n")
        figures += block
    if knobs.json:
        raw = {"versions": used, "figures": [asdict(f) for f in figures]}
        knobs.json.write_text(json.dumps(raw, indent=1) + "\n")
    if knobs.svg:
        plot(figures, knobs.svg)
    sys.exit(not all(f.threads for f in figures))


def read_knobs():
    """Return what make's variables ask for."""
    knobs = Knobs("bench")
    knobs.add("STREAMS", numbers)
    knobs.add("TICK", number(0.02, 60))
    knobs.add("JSON", file)
    knobs.add("SVG", file)
    return knobs.read()


def numbers(text):
    """The kind of several whole numbers, ascending."""
    try:
        return sorted({whole(1)(number) for number in text.split(",")})
    except ValueError:
        raise ValueError("must be whole numbers >= 1, such as 10,1000") from None


def estimate(numbers, tick):
    """How many seconds it takes."""
    each = (STARTING + streams * PACE + window(tick) for streams in numbers)
    return len(CONTESTANTS) * sum(each)


def possible(numbers, console):
    """The same numbers, but none above what open files and local ports allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = max(soft, min(numbers[-1] + SPARE, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))  # servers inherit it
    limits = [(files - SPARE, "the limit of open files (ulimit -n)")]
    with suppress(OSError):  # Linux alone has it
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        limits.append((int(high) - int(low), "the range of local ports"))
    most, reason = min(limits)
    if numbers[-1] > most:
        console.print(f"{numbers[-1]:,} streams: {reason} allows {most:,}")
    return sorted({min(streams, most) for streams in numbers})


def versions():
    """What is measured, such as "uvicorn 0.54.0", and on what."""
    packages = "django", "uvicorn", "gunicorn", "gevent", "starlette"
    used = [f"{name} {version(name)}" for name in packages]
    return [f"Python {sys.version.split()[0]}", *used, f"{os.cpu_count()} cores"]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
