"""What an open event stream costs: this project beside other ways to serve it.

    make bench STREAMS=100,1000 TICK=1 JSON=figures.json SVG=plot.svg

Every contestant serves the same events and the same page from a fresh server with one
worker. CPU, threads and memory are those of all of the server's processes.
"""

import asyncio
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import psutil
from bench_report import duration, plot, table
from harness import Server
from knobs import Knobs, file, number, whole
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from streams import BURST, BURST_EVERY, fetch_page, open_streams

BUSY = 1000  # streams that are measured once more, with as many events as all can send
BUSY_EVENTS = 8000  # a second, which no contestant is too slow for
FEW = 100  # with fewer streams, what one of them costs is lost in the noise
SPARE = 100  # connections, threads, files: for all that is not a measured stream
PAGE_EVERY = 0.1  # seconds
PATIENCE = 10  # seconds that a server has to stop
NO_ACCESS_LOG = {"UVICORN_ACCESS_LOG": 0}  # most others write none unless told
SHELLS = ("make", "sh", "bash", "dash")


@dataclass(frozen=True)
class Contestant:
    """A server to measure: a target of the Makefile and its variables."""

    name: str
    target: str
    variables: dict = field(default_factory=dict)


FOUNDATION = "tests.programs.foundations:"
# Threads and gevent get as many as there are streams: the limit is theirs to choose.
CONTESTANTS = (
    Contestant("this project", "run-asgi"),
    Contestant("Django's own", "run-asgi", {"ASGI": FOUNDATION + "stock"}),
    Contestant("Starlette", "run-asgi", {"ASGI": FOUNDATION + "starlette"}),
    Contestant("bare ASGI", "run-asgi", {"ASGI": FOUNDATION + "bare"}),
    Contestant("gunicorn sync", "run-wsgi"),
    Contestant(
        "gunicorn threads",
        "run-wsgi",
        {"GUNICORN": "--threads {enough} --worker-connections {enough}"},
    ),
    Contestant(
        "gunicorn gevent",
        "run-wsgi",
        {"GUNICORN": "--worker-class gevent --worker-connections {enough}"},
    ),
)


@dataclass(frozen=True)
class Plan:
    """How a number of streams is measured; all times are in seconds.

    tick: between two events of a stream. The streams are opened, then watched without
    a request for the page, then with some; none of them ends before that.
    """

    streams: int
    tick: float
    busy: bool = False

    def __str__(self):
        return f"{self.streams:,} {'busy ' * self.busy}streams"

    @property
    def every(self):
        """Between two bursts: few streams are spread over a tick, too."""
        return max(BURST_EVERY, self.tick * BURST / self.streams)

    @property
    def opening(self):
        return self.streams / BURST * self.every

    @property
    def patience(self):
        return 2 + self.streams / 5000

    @property
    def window(self):
        """At least a second, and some events of each stream."""
        return max(1, 3 * self.tick)

    @property
    def count(self):
        """Twice what the opening should take, so that no stream ends too early."""
        lasting = 2 * (self.opening + self.patience + self.window) + PATIENCE
        return max(100, math.ceil(lasting / self.tick))

    @property
    def estimate(self):
        return 3 + self.opening + 2 * self.window


@dataclass(frozen=True)
class Figures:
    """What one contestant did with a number of streams; None where it did nothing.

    opened: streams that got an event; on_time: those of them that had got all in order
    until the end; memory: bytes for each open stream; open_cpu (while the others
    stream), event_cpu, gap, page, stop (after Ctrl-C, with all streams open): seconds.
    """

    contestant: str
    streams: int
    tick: float
    busy: bool
    opened: int = 0
    on_time: int = 0
    idle_threads: int = 0
    threads: int = 0
    memory: float | None = None
    open_cpu: float | None = None
    event_cpu: float | None = None
    gap: float | None = None
    page: float | None = None
    stop: float | None = None


@dataclass(frozen=True)
class Usage:
    """What a server had used at one moment, and the events that had arrived by then.

    cpu: seconds; memory: bytes that would be free if the server ended.
    """

    cpu: float
    events: int
    threads: int
    memory: int


class BenchServer(Server):
    """Any of the contestants' servers, with all of its processes."""

    def find_processes(self):
        """Remember the server's processes, without the shell that started it."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.processes = [p for p in children if p.name() not in SHELLS]

    def usage(self, streams=()):
        """Add up what all processes have used, with these streams open."""
        return Usage(
            cpu=sum(map(cpu_seconds, self.processes)),
            events=sum(len(stream.times) for stream in streams),
            threads=sum(process.num_threads() for process in self.processes),
            memory=sum(p.memory_full_info().uss for p in self.processes),
        )


def cpu_seconds(process):
    """CPU time of a process: to the nanosecond on Linux, where psutil's is to 10 ms."""
    if sys.platform == "linux":
        return time.clock_gettime((~process.pid << 3) | 2)  # see clock_getcpuclockid(3)
    times = process.cpu_times()
    return times.user + times.system


def measure(contestant, plan, console):
    """Measure a fresh server; if it does not start or ends, say so, without figures."""
    try:
        figures = serve(contestant, plan)
    except (RuntimeError, OSError, psutil.Error) as error:
        console.print(f"{contestant.name}: {error}", highlight=False, markup=False)
        figures = {}
    return Figures(contestant.name, plan.streams, plan.tick, plan.busy, **figures)


def serve(contestant, plan):
    """Start the contestant's server, use it, and end it."""
    variables = {"COUNT": plan.count, "TICK": plan.tick, **NO_ACCESS_LOG}
    for name, value in contestant.variables.items():
        variables[name] = value.format(enough=plan.streams + SPARE)
    with BenchServer(contestant.target, **variables) as server:
        try:
            return asyncio.run(use(server, plan))
        finally:
            server.kill()  # its own end may take longer than PATIENCE


async def use(server, plan):
    """Open the streams, watch them, load pages meanwhile; return the figures."""
    await warm_up(server.port, plan)
    server.find_processes()
    idle = server.usage()
    streams = await open_streams(
        server.port, plan.streams, plan.count, plan.patience, plan.every
    )
    begin, opened = time.perf_counter(), server.usage(streams)
    await asyncio.sleep(plan.window)
    watched = server.usage(streams)
    page = await page_latency(server.port, plan.window)
    return {
        "opened": len(streams),
        "on_time": sum(is_on_time(stream, plan) for stream in streams),
        "idle_threads": idle.threads,
        "threads": opened.threads,
        "gap": gap(streams, begin),
        "page": page,
        "stop": await stop(server),
        **costs(len(streams), plan, idle, opened, watched),
    }


def costs(streams, plan, idle, opened, watched):
    """What one of the streams cost; nothing for fewer than asked for: other work."""
    events = watched.events - opened.events
    if streams < max(plan.streams, FEW) or not events:
        return {}
    event_cpu = (watched.cpu - opened.cpu) / events
    open_cpu = (opened.cpu - idle.cpu - opened.events * event_cpu) / streams
    # Where the server is busy with the events, what is left says nothing.
    measurable = open_cpu > 0 and not plan.busy
    return {
        "memory": (watched.memory - idle.memory) / streams,
        "event_cpu": event_cpu,
        "open_cpu": open_cpu if measurable else None,
    }


async def warm_up(port, plan):
    """Have the server do everything once, which is when it imports what it needs."""
    for stream in await open_streams(port, 1, plan.count, plan.patience):
        stream.transport.abort()
    for _ in range(20):
        await fetch_page(port)
    await asyncio.sleep(0.2)  # a thread that ends takes a moment


def is_on_time(stream, plan):
    """Whether the stream goes on; it closes itself after an event out of order."""
    late = time.perf_counter() - stream.times[-1]
    return not stream.ended.done() and late < 2 * plan.tick + 0.5


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


def gap(streams, begin):
    """The 99th percentile of the time between two events since `begin`."""
    gaps = []
    for stream in streams:
        times = [t for t in stream.times if t >= begin]
        gaps += [b - a for a, b in pairwise(times)]
    return statistics.quantiles(gaps, n=100)[98] if len(gaps) > 1 else None


async def stop(server):
    """Press Ctrl-C; return the seconds until the server has ended, None for never."""
    with suppress(subprocess.TimeoutExpired):
        return await asyncio.to_thread(server.stop, PATIENCE)


def main():
    """Read the knobs, measure, print a table for each plan."""
    knobs = read_knobs()
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    plans = make_plans(possible(knobs.streams, console), knobs.tick)
    used = versions()
    cores = f"CPU: {os.cpu_count()} cores"
    console.print(", ".join([cores, *used]), highlight=False, soft_wrap=True)
    figures = []
    for block in measure_all(CONTESTANTS, plans, console):
        figures += block
        console.print("", table(block), "", sep="\n")
    if knobs.json:
        raw = {"cores": os.cpu_count(), "versions": used}
        raw["figures"] = [asdict(f) for f in figures]
        knobs.json.write_text(json.dumps(raw, indent=1) + "\n")
    if knobs.svg:
        plot(figures, knobs.svg)
    sys.exit(not all(f.opened for f in figures))


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


def make_plans(numbers, tick):
    """Every number of streams at the post's pace, and one of them busy."""
    plans = [Plan(number, tick) for number in numbers]
    if numbers[-1] >= BUSY:
        plans.append(Plan(BUSY, BUSY / BUSY_EVENTS, busy=True))
    return plans


def measure_all(contestants, plans, console):
    """Measure every contestant, in turn; yield the figures of each plan."""
    total = sum(plan.estimate for plan in plans) * len(contestants)
    console.print(f"This takes about {duration(total)}.", highlight=False)
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        for plan in plans:
            block = []
            for contestant in contestants:
                doing = f"{plan}: {contestant.name}"
                bar.update(task, description=doing)
                block.append(measure(contestant, plan, console))
                bar.advance(task, plan.estimate)
                if bar.disable:
                    console.print(doing, highlight=False)
            yield block


def possible(numbers, console):
    """The same numbers, but none above what open files and local ports allow."""
    files = allow_files(numbers[-1] + SPARE) - SPARE
    limits = [(files, "the limit of open files (ulimit -n)")]
    with suppress(OSError):
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        limits.append((int(high) - int(low), "the range of local ports"))
    most, reason = min(limits)
    for streams in numbers:
        if streams > most:
            console.print(f"{streams:,} streams: {reason} allows {most:,}")
    return sorted({min(streams, most) for streams in numbers})


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
    """What was measured, such as "uvicorn 0.54.0"."""
    packages = "uvicorn", "gunicorn", "gevent", "starlette"
    python = f"Python {sys.version.split()[0]}"
    return [python, *(f"{name} {version(name)}" for name in ("django", *packages))]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
