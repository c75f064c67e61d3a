"""The same countdown on three servers, side by side, as their tabs receive it.

make compare [TABS=3] [SECONDS=45] [FAST=1] [SVG=picture.svg]
"""

import signal

if __name__ == "__main__":  # Ctrl-C during the imports: nothing to stop, nothing to say
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import asyncio
import io
import os
import re
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from harness import RECONNECT, Server, browse
from rich.console import CONSOLE_SVG_FORMAT, Console, Group
from rich.live import Live
from rich.terminal_theme import MONOKAI
from rich.text import Text
from timeline import Run, Timeline, result, summary

MOST_TABS = 40
LONGEST = 3600  # seconds
TIMEOUT = 30  # seconds, gunicorn's default
FAST = 0.2  # of the post's times
SVG_WIDTH = 80
# Without the fonts that a viewer would fetch; any fixed-width font will do.
SVG_FORMAT = re.sub(r"@font-face {{.*?}}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
WORDS = {
    "open": "asks for the page",
    "page": "has the page, asks for the stream",
    "number": "counts from {}",
    "cut": "is cut at {}",
    "retry": "asks for the stream again",
    "blastoff": "Blastoff!",
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Knobs:
    """What the make variables ask for; pace: seconds between two events."""

    tabs: int
    seconds: int
    pace: float
    svg: Path | None

    @classmethod
    def read(cls, arguments):
        """Read NAME=value arguments; ValueError says what is wrong with them."""
        given = dict(argument.split("=", 1) for argument in arguments)
        tabs = whole("TABS", given["TABS"], MOST_TABS)
        pace = FAST if switched_on("FAST", given["FAST"]) else 1
        seconds = given["SECONDS"] or f"{tabs + 42 * pace:.0f}"
        knobs = cls(tabs, whole("SECONDS", seconds, LONGEST), pace, svg(given["SVG"]))
        if tabs > knobs.seconds:
            line = "a tab opens every second, so TABS can be at most SECONDS"
            raise ValueError(f"TABS={tabs} SECONDS={seconds}: {line}")
        return knobs


def switched_on(name, value):
    if value not in ("", "0", "1"):
        raise ValueError(f"{name}={value}: must be 1, or 0 for the post's own speed")
    return value == "1"


def whole(name, value, most):
    if not re.fullmatch("[0-9]{1,9}", value) or not 1 <= int(value) <= most:
        raise ValueError(f"{name}={value}: must be a whole number from 1 to {most}")
    return int(value)


def svg(value):
    path = Path(value).expanduser() if value else None
    if path and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise ValueError(f"SVG={value}: must be a file in a folder that can be written")
    return path


class Contestant:
    """A server, and what its tabs live through."""

    def __init__(self, run, target, options, pace):
        self.run = run
        self.server = Server(target, TICK=pace, GUNICORN_CMD_ARGS=options)

    async def warm_up(self):
        """Have the application loaded, and count the threads that hold no stream."""
        self.idle = self.threads()
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            await asyncio.gather(*(client.get(self.server.url) for _ in range(4)))
        # Under ASGI this has started the threads that all requests share, under WSGI
        # those that the streams will hold.
        if self.server.target == "run-asgi":
            self.idle = self.threads()

    async def observe(self, pace):
        """Note what the streams cost the server; RuntimeError when it has ended."""
        while True:
            await asyncio.sleep(pace)
            self.server.ready()
            self.run.timeouts = self.server.log().count("WORKER TIMEOUT")
            threads = self.threads()
            held = threads - self.idle if threads > 1 else threads  # its only one
            self.run.threads = max(self.run.threads, held)

    def threads(self):
        with suppress(psutil.Error, StopIteration):  # between two workers
            return self.server.worker().num_threads()
        return 0

    async def browse(self, tab, record, clock, pace):
        try:
            await browse(self.server.url, tab, record, clock, RECONNECT * pace)
        except httpx.HTTPError as error:
            log = self.server.log()[-2000:]
            raise RuntimeError(f"{self.run.name}: {error!r}\n{log}") from error


def contestants(pace):
    """The servers that are compared."""
    # A worker boots no faster in FAST, unless the application is loaded before it.
    fast = f" --timeout {TIMEOUT * pace:g} --preload" if pace == FAST else ""
    wsgi = Run("WSGI", "gunicorn, 1 sync worker")
    threads = Run("WSGI with threads", "gunicorn, 1 worker, 2 threads")
    asgi = Run("ASGI", "uvicorn, 1 worker")
    return [
        Contestant(wsgi, "run-wsgi", fast, pace),
        Contestant(threads, "run-wsgi", f"--threads 2{fast}", pace),
        Contestant(asgi, "run-asgi", "", pace),
    ]


class Comparison:
    """The same tabs on every server; now: seconds since the first ones opened."""

    def __init__(self, knobs, console):
        self.knobs = knobs
        self.console = console
        self.contestants = contestants(knobs.pace)
        self.runs = [contestant.run for contestant in self.contestants]
        self.now = 0.0

    async def run(self):
        """Start the servers, open the tabs, and end the servers when time is up."""
        with ExitStack() as stack:
            self.console.print("Starting gunicorn, gunicorn with threads, uvicorn ...")
            for contestant in self.contestants:
                contestant.server.launch()
                stack.callback(contestant.server.kill)
            while not all(c.server.ready() for c in self.contestants):
                await asyncio.sleep(0.05)
            await asyncio.gather(*(c.warm_up() for c in self.contestants))
            if self.console.is_terminal:
                live = Live(console=self.console, screen=True, auto_refresh=False)
                await self.record(stack.enter_context(live).update)
            else:
                await self.record()

    async def record(self, draw=None):
        """Record until time is up or every tab has reached Blastoff."""
        self.begin = time.monotonic()
        numbers = range(1, self.knobs.tabs + 1)
        tabs = start(
            self.tab(c, number) for c in self.contestants for number in numbers
        )
        others = start(c.observe(self.knobs.pace) for c in self.contestants)
        try:
            while self.clock() < self.knobs.seconds and not all(t.done() for t in tabs):
                if draw:
                    draw(self.picture(), refresh=True)
                await moment(tabs + others)
        finally:
            self.clock()
            await cancel(tabs + others)

    async def tab(self, contestant, number):
        """Open a tab when its time has come."""

        def record(record):
            if not self.console.is_terminal:
                self.announce(contestant.run, record)
            contestant.run.records.append(record)

        pace = self.knobs.pace
        await asyncio.sleep(number - 1)
        await contestant.browse(number, record, self.clock, pace)

    def announce(self, run, record):
        """Print a line for what happens to a tab; of the numbers only the first."""
        before = run.tab(record.tab)
        if record.kind != "number" or before[-1].kind != "number":
            words = WORDS[record.kind].format(record.value or "the start")
            line = f"{record.at:5.1f} s  {run.name:17}  tab {record.tab}  {words}"
            self.console.print(line, highlight=False)

    def clock(self):
        self.now = min(time.monotonic() - self.begin, self.knobs.seconds)
        return self.now

    def picture(self):
        """The timeline so far, under a line that says what is compared."""
        tabs, seconds = self.knobs.tabs, self.knobs.seconds
        timeline = Timeline(self.runs, tabs, seconds, self.now)
        return Group(headline(tabs, self.knobs.pace), timeline)

    def report(self, console):
        """Print the timeline, the summary and the result."""
        for part in (
            self.picture(),
            summary(self.runs, self.now),
            Text(result(self.runs, self.now), "bold"),
        ):
            console.line()
            console.print(part)


def start(coroutines):
    return [asyncio.create_task(coroutine) for coroutine in coroutines]


async def moment(tasks):
    """Wait for the next redraw; raises what one of the tasks has raised."""
    done, _ = await asyncio.wait(tasks, timeout=0.2, return_when="FIRST_EXCEPTION")
    for task in done:
        task.result()


async def cancel(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def headline(tabs, pace):
    """What is compared, and how far FAST is from the post."""
    what = "1 tab" if tabs == 1 else f"{tabs} tabs, opened one second apart,"
    text = Text(f"{what} on each of three servers.\n", "bold")
    if pace == FAST:
        times = f"an event every {pace:g} s, timeout {TIMEOUT * pace:g} s"
        text.append(f"FAST=1, about a fifth of the post's times: {times}.\n", "yellow")
    return text


async def until_signal(coroutine):
    """Await it; return the number of the signal that stopped it, or 0."""
    task, received = asyncio.create_task(coroutine), []

    def stop(number):
        received.append(number)
        task.cancel()

    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # by nohup
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    with suppress(asyncio.CancelledError):
        await task
    return received[0] if received else 0


def terminal():
    """A console for the standard output; without control codes if that is no screen."""
    screen = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    width = None if screen or os.environ.get("COLUMNS") else 80
    return Console(force_terminal=screen, width=width)


def save(comparison, path):
    """Save the report as a picture; it looks the same on light and on dark pages."""
    console = Console(record=True, width=SVG_WIDTH, file=io.StringIO())
    comparison.report(console)
    title = "make compare FAST=1" if comparison.knobs.pace == FAST else "make compare"
    console.save_svg(path, title=title, theme=MONOKAI, code_format=SVG_FORMAT)


def main(arguments):
    try:
        knobs = Knobs.read(arguments)
    except ValueError as error:
        sys.exit(str(error))
    comparison = Comparison(knobs, terminal())
    try:
        number = asyncio.run(until_signal(comparison.run()))
    except (RuntimeError, httpx.HTTPError, OSError) as error:
        sys.exit(str(error))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no server is left to be ended
    if comparison.now:
        with suppress(OSError):  # the terminal may have been closed
            comparison.report(comparison.console)
        if knobs.svg:
            save(comparison, knobs.svg)
    sys.exit(128 + number if number else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
