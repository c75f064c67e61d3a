"""The same countdown on three servers, side by side, as their tabs receive it.

make compare [TABS=3] [SECONDS=45] [FAST=1] [SVG=picture.svg] [GUNICORN="--threads 2"]
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
from contextlib import ExitStack, contextmanager, suppress

import httpx
import psutil
from harness import RECONNECT, Server, browse
from knobs import Knobs, file, switch, whole
from rich.console import CONSOLE_SVG_FORMAT, Console, Group
from rich.live import Live
from rich.terminal_theme import MONOKAI
from rich.text import Text
from timeline import Run, Timeline, result, summary

MOST_TABS = 40
LONGEST = 3600  # seconds
TIMEOUT = 30  # seconds, gunicorn's default
GUNICORN = "--threads 2"  # options of the second server
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


def read_knobs(arguments=None):
    """Return what make's variables ask for.

    pace: seconds between two events; gunicorn: options of the second server.
    """
    knobs = Knobs("compare")
    knobs.add("TABS", whole(1, MOST_TABS))
    knobs.add("SECONDS", lambda text: whole(1, LONGEST)(text) if text else 0)
    knobs.add("FAST", switch)
    knobs.add("SVG", file)
    knobs.add("GUNICORN", options, GUNICORN)
    values = knobs.read(arguments)
    values.pace = FAST if values.fast else 1
    values.seconds = values.seconds or round(values.tabs + 42 * values.pace)
    if values.tabs > values.seconds:
        line = f"must be at least TABS={values.tabs}: a tab opens every second"
        knobs.error(f"SECONDS={values.seconds}: {line}")
    return values


def options(text):
    """The kind of gunicorn's options: no daemon, which nobody would end."""
    if set(text.split()) & {"-D", "--daemon"}:
        raise ValueError("must be without --daemon")
    return " ".join(text.split())


class Side:
    """One of the servers side by side, and what its tabs see."""

    def __init__(self, name, server, target, pace, **variables):
        self.run = Run(name, server)
        self.server = Server(target, TICK=pace, **variables)

    async def warm_up(self):
        """Have the application loaded, and count the threads that hold no stream."""
        before = self.threads()
        local = {"base_url": self.server.url, "trust_env": False, "timeout": 30}
        async with httpx.AsyncClient(**local) as client:
            with self.log_in_errors():
                await asyncio.gather(*(client.get("/") for _ in range(4)))
        # A sync worker streams in its only thread, gthread in threads that it starts
        # when they are needed. What other servers have started now, all requests share.
        match re.search(r"Using worker: (\w+)|$", self.server.log())[1]:
            case "sync":
                self.idle = 0
            case "gthread":
                self.idle = before
            case _:
                self.idle = self.threads()

    async def observe(self, pace):
        """Note what the streams cost the server; RuntimeError when it has ended."""
        while True:
            await asyncio.sleep(pace)
            self.server.ready()
            self.run.timeouts = self.server.log().count("WORKER TIMEOUT")
            self.run.threads = max(self.run.threads, self.threads() - self.idle)

    def threads(self):
        """The threads of all workers: the processes that have started no other."""
        processes = psutil.Process(self.server.process.pid).children(recursive=True)
        threads = 0
        for process in processes:
            with suppress(psutil.Error):  # a worker that was killed just now
                threads += 0 if process.children() else process.num_threads()
        return threads

    async def browse(self, tab, record, clock, pace):
        with self.log_in_errors():
            await browse(self.server.url, tab, record, clock, RECONNECT * pace)

    @contextmanager
    def log_in_errors(self):
        """Raise RuntimeError, with the end of the server's log, for httpx's errors."""
        try:
            yield
        except httpx.HTTPError as error:
            log = self.server.log()[-2000:]
            raise RuntimeError(f"{self.run.name}: {error!r}\n{log}") from error


def sides(pace, gunicorn):
    """The servers that are compared; gunicorn: options of the second one."""
    # A worker boots no faster in FAST, unless the application is loaded before it.
    fast = f"--timeout {TIMEOUT * pace:g} --preload" if pace == FAST else ""
    wsgi = {"target": "run-wsgi", "pace": pace, "GUNICORN_CMD_ARGS": fast}
    return [
        Side("WSGI", "gunicorn, 1 sync worker", **wsgi),
        Side(
            f"WSGI {gunicorn}", "gunicorn with these options", **wsgi, GUNICORN=gunicorn
        ),
        Side("ASGI", "uvicorn, 1 worker", "run-asgi", pace),
    ]


class Comparison:
    """The same tabs on every server; now: seconds since the first ones opened."""

    def __init__(self, knobs, console):
        self.knobs = knobs
        self.console = console
        self.sides = sides(knobs.pace, knobs.gunicorn)
        self.runs = [side.run for side in self.sides]
        self.longest_name = max(len(run.name) for run in self.runs)
        self.now = 0.0

    async def run(self):
        """Start the servers, open the tabs, and end the servers when time is up."""
        with ExitStack() as stack:
            self.console.print(
                f"Starting gunicorn, gunicorn {self.knobs.gunicorn} and uvicorn ...",
                highlight=False,
            )
            for side in self.sides:
                side.server.launch()
                stack.callback(side.server.kill)
            while not all(side.server.ready() for side in self.sides):
                await asyncio.sleep(0.05)
            await asyncio.gather(*(side.warm_up() for side in self.sides))
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
            self.tab(side, number) for side in self.sides for number in numbers
        )
        others = start(side.observe(self.knobs.pace) for side in self.sides)
        try:
            while self.clock() < self.knobs.seconds and not all(t.done() for t in tabs):
                if draw:
                    draw(self.picture(), refresh=True)
                await moment(tabs + others)
        finally:
            self.clock()
            await cancel(tabs + others)

    async def tab(self, side, number):
        """Open a tab when its time has come."""

        def record(record):
            if not self.console.is_terminal:
                self.announce(side.run, record)
            side.run.records.append(record)

        pace = self.knobs.pace
        await asyncio.sleep(number - 1)
        await side.browse(number, record, self.clock, pace)

    def announce(self, run, record):
        """Print a line for what happens to a tab; of the numbers only the first."""
        before = run.tab(record.tab)
        if record.kind != "number" or before[-1].kind != "number":
            words = WORDS[record.kind].format(record.value or "the start")
            name = run.name.ljust(self.longest_name)
            line = f"{record.at:5.1f} s  {name}  tab {record.tab}  {words}"
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
    knobs, title = comparison.knobs, ["make compare"]
    title += ["FAST=1"] * (knobs.pace == FAST)
    title += [f'GUNICORN="{knobs.gunicorn}"'] * (knobs.gunicorn != GUNICORN)
    title = " ".join(title)
    console.save_svg(path, title=title, theme=MONOKAI, code_format=SVG_FORMAT)


def main():
    knobs = read_knobs()
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
    main()
