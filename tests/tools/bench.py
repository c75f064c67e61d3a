"""What an open event stream costs: this project beside Django's own handler and others.

    make bench STREAMS=10,1000 JSON=figures.json SVG=plot.svg

Every contestant serves the same events and the same page from a fresh server. CPU,
threads and memory are those of the process that serves, beyond what it uses idle.
"""

import asyncio
import json
import math
import os
import resource
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from bench_report import plot, table
from harness import Server
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from streams import BURST, BURST_EVERY, fetch_page, open_streams

STREAMS = "1,10,100,1000,5000"
SPARE_FILES = 100  # what bench and a server have open besides the streams
PAGE_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Contestant:
    """A server to measure: a target of the Makefile and its variables."""

    name: str
    target: str
    variables: dict


CONTESTANTS = (
    Contestant("this project", "run-asgi", {}),
    Contestant("Django's own", "run-asgi", {"ASGI": "tests.tools.foundations:stock"}),
    Contestant("Starlette", "run-asgi", {"ASGI": "tests.tools.foundations:starlette"}),
    Contestant("bare ASGI", "run-asgi", {"ASGI": "tests.tools.foundations:bare"}),
    Contestant("gunicorn sync", "run-wsgi", {}),
    Contestant(
        "gunicorn 100 threads", "run-wsgi", {"GUNICORN_CMD_ARGS": "--threads 100"}
    ),
)


@dataclass(frozen=True)
class Plan:
    """How long a number of streams is measured, in seconds.

    Up to 8000 events/s, which no contestant is too slow for: with fewer, most of the
    CPU per event would be the server's waking up. The streams last for the opening,
    then for a window without requests for the page and one with.
    """

    streams: int

    @property
    def tick(self):
        return max(0.02, self.streams / 8000)

    @property
    def patience(self):
        return 0.5 + self.streams / 5000

    @property
    def window(self):
        return 1 + self.streams / 2000

    @property
    def opening(self):
        # Twice the time that it should take: no stream may end before all are open.
        return 2 * (self.streams / BURST * BURST_EVERY + self.patience)

    @property
    def count(self):
        return math.ceil((self.opening + 2 * self.window) / self.tick)

    @property
    def estimate(self):
        return 2.5 + self.count * self.tick + self.opening


@dataclass(frozen=True)
class Figures:
    """What one contestant did with a number of streams; None where it did nothing.

    opened, complete: streams that got an event, and all of them; memory: bytes for each
    open stream; open_cpu, event_cpu, gap, page: seconds.
    """

    contestant: str
    streams: int
    tick: float
    opened: int
    complete: int
    idle_threads: int
    threads: int
    memory: float | None
    open_cpu: float | None
    event_cpu: float | None
    gap: float | None
    page: float | None


def cpu_seconds(process):
    """CPU time of a process: to the nanosecond on Linux, where psutil's is to 10 ms."""
    if sys.platform == "linux":
        return time.clock_gettime((~process.pid << 3) | 2)  # see clock_getcpuclockid(3)
    times = process.cpu_times()
    return times.user + times.system


def unshared_memory(process):
    """Bytes that would be free if the process ended."""
    return process.memory_full_info().uss


def measure(contestant, plan):
    """Start the contestant's server and measure it."""
    variables = {"COUNT": plan.count, "TICK": plan.tick, "UVICORN_ACCESS_LOG": 0}
    with Server(contestant.target, **variables, **contestant.variables) as server:
        try:
            figures = asyncio.run(use(server, plan))
        finally:
            server.kill()  # without waiting for the streams that are still open
    return Figures(contestant.name, plan.streams, plan.tick, **figures)


async def use(server, plan):
    """Open the streams, watch them, load pages meanwhile; return the figures."""
    loop = asyncio.get_running_loop()
    await warm_up(server.port, plan)
    process = server.worker()
    idle_threads, idle_memory = process.num_threads(), unshared_memory(process)
    cpu_idle = cpu_seconds(process)
    streams = await open_streams(server.port, plan.streams, plan.count, plan.patience)
    begin, cpu_begin, events_begin = loop.time(), cpu_seconds(process), events(streams)
    threads = process.num_threads()
    await asyncio.sleep(plan.window)
    cpu_end, events_end = cpu_seconds(process), events(streams)
    memory = unshared_memory(process) - idle_memory
    page = await page_latency(server.port, plan.window)
    await end_of(streams, plan)
    event_cpu = ratio(cpu_end - cpu_begin, events_end - events_begin)
    open_cpu = cpu_begin - cpu_idle - events_begin * (event_cpu or 0)
    return {
        "opened": len(streams),
        "complete": sum(stream.complete for stream in streams),
        "idle_threads": idle_threads,
        "threads": threads,
        "memory": ratio(memory, len(streams)),
        "open_cpu": ratio(open_cpu, len(streams)),
        "event_cpu": event_cpu,
        "gap": gap(streams, begin),
        "page": page,
    }


async def warm_up(port, plan):
    """Have the server do everything once, which is when it imports what it needs."""
    for stream in await open_streams(port, 1, plan.count, plan.patience):
        stream.transport.abort()
    for _ in range(20):
        await fetch_page(port)
    await asyncio.sleep(0.2)  # a thread that ends takes a moment


def events(streams):
    return sum(len(stream.times) for stream in streams)


def ratio(value, number):
    return value / number if number else None


async def page_latency(port, seconds):
    """Load / every PAGE_EVERY seconds; return the median time, None for no answer."""
    tasks = []
    for _ in range(round(seconds / PAGE_EVERY)):
        tasks.append(asyncio.create_task(fetch_page(port)))
        await asyncio.sleep(PAGE_EVERY)
    _, pending = await asyncio.wait(tasks, timeout=PAGE_EVERY)
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    answered = [t.cancelled() or t.exception() or t.result() for t in tasks]
    times = [t if isinstance(t, float) else math.inf for t in answered]
    median = statistics.median_high(times)
    return median if math.isfinite(median) else None


async def end_of(streams, plan):
    """Wait for the streams that are open to end."""
    if streams:
        rest = plan.count * plan.tick + 10  # late is not lost
        await asyncio.wait([stream.ended for stream in streams], timeout=rest)


def gap(streams, begin):
    """The 99th percentile of the time between two events since `begin`."""
    gaps = []
    for stream in streams:
        times = [t for t in stream.times if t >= begin]
        gaps += [b - a for a, b in pairwise(times)]
    return statistics.quantiles(gaps, n=100)[98] if len(gaps) > 1 else None


def main():
    """Read the knobs, measure, print a table for each number of streams."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    plans = [Plan(streams) for streams in possible(wanted(), console)]
    files = {name: output(name) for name in ("JSON", "SVG")}
    console.print(f"CPU: {os.cpu_count()} cores; {', '.join(versions())}")
    figures = []
    for block in measure_all(plans, console):
        figures += block
        console.print(table(block))
    if files["JSON"]:
        raw = {"versions": versions(), "figures": [asdict(f) for f in figures]}
        files["JSON"].write_text(json.dumps(raw, indent=1) + "\n")
    if files["SVG"]:
        plot(figures, files["SVG"])


def measure_all(plans, console):
    """Measure every contestant, in turn; yield the figures of each plan."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        total = sum(plan.estimate for plan in plans) * len(CONTESTANTS)
        task = bar.add_task("", total=total)
        for plan in plans:
            block = []
            for contestant in CONTESTANTS:
                doing = f"Streams: {plan.streams:,}, {contestant.name}"
                bar.update(task, description=doing)
                block.append(measure(contestant, plan))
                bar.advance(task, plan.estimate)
                if bar.disable:
                    console.print(doing)
            yield block


def wanted():
    """The numbers of streams that STREAMS asks for, ascending."""
    value = os.environ.get("STREAMS", STREAMS)
    try:
        numbers = sorted({int(number) for number in value.split(",")})
    except ValueError:
        numbers = [0]
    if numbers[0] < 1:
        sys.exit(f"STREAMS={value}: must be whole numbers >= 1, such as 10,1000")
    return numbers


def output(name):
    """The file to write that the environment names, or None."""
    value = os.environ.get(name)
    if not value:
        return None
    path = Path(value)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        sys.exit(f"{name}={value}: cannot be written: name a file in a folder that can")
    return path


def possible(numbers, console):
    """The same numbers, but none above what open files and local ports allow."""
    files = allow_files(numbers[-1] + SPARE_FILES) - SPARE_FILES
    limits = [(files, "the limit of open files (ulimit -n)")]
    with suppress(OSError):
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        limits.append((int(high) - int(low), "the range of local ports"))
    most, reason = min(limits)
    for number in numbers:
        if number > most:
            console.print(f"{number:,} streams: {reason} allows {most:,}")
    return sorted({min(number, most) for number in numbers})


def allow_files(number):
    """Raise the limit of open files, which servers inherit; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in ((number, max(number, hard)), (hard, hard)):
        if limit[0] > soft:
            with suppress(ValueError, OSError):  # only root may raise the hard limit
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
                return limit[0]
    return soft


def versions():
    python = f"Python {sys.version.split()[0]}"
    packages = "django", "uvicorn", "starlette", "gunicorn"
    return [python, *(f"{name} {version(name)}" for name in packages)]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
