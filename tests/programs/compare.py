"""The same countdown on three servers, side by side, as their tabs receive it.

make compare [TABS=3] [SECONDS=45] [FAST=1] [SVG=picture.svg] [GUNICORN="--threads 2"]
and WORKERS, COUNT, TICK, DEBUG for all three.
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
from functools import partial

import httpx
from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.live import Live
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.programs.timeline import Run, Timeline, summary
from tests.support.knobs import Knobs, file, number, switch, whole
from tests.support.server import Server
from tests.support.tab import browse

MOST_TABS = 40
LONGEST = 3600  # seconds
TICK, TIMEOUT = 1, 30  # the post's, in seconds; gunicorn's default
FAST = 0.2  # of these two; boots and reconnections take as long as ever
BELOW = 7  # lines under the timeline: a blank one, the summary, the shell's prompt
# Without the fonts that a viewer would fetch; any fixed-width font will do.
SVG_FORMAT = re.sub(r"@font-face {{.*?}}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def read_knobs(arguments=None):
    """Return what make's variables ask for; timeout: gunicorn's, in seconds."""
    knobs = Knobs("compare")
    knobs.add("TABS", whole(1, MOST_TABS))
    knobs.add("WORKERS", whole(1))
    knobs.add("COUNT", whole(0))
    knobs.add("TICK", number(0))
    knobs.add("DEBUG", switch)
    knobs.add("SECONDS", lambda text: whole(1, LONGEST)(text) if text else 0)
    knobs.add("FAST", switch)
    knobs.add("SVG", file)
    knobs.add("GUNICORN", options, "--threads 2")
    values = knobs.read(arguments)
    pace = FAST if values.fast else 1
    values.tick *= pace
    values.timeout = TIMEOUT * pace
    values.seconds = values.seconds or story(values)
    if values.tabs > values.seconds:
        line = f"must be at least TABS={values.tabs}: a tab opens every second"
        knobs.error(f"SECONDS={values.seconds}: {line}")
    return values


def options(text):
    """The kind of gunicorn's options: no daemon, which nobody would end."""
    if set(text.split()) & {"-D", "--daemon"}:
        raise ValueError("must be without --daemon")
    return " ".join(text.split())


def story(knobs):
    """Seconds until all tabs are open, the first had its turn, and the next has begun.

    A tab's turn over WSGI ends with its countdown, or when it is cut.
    """
    turn = min(knobs.timeout, (knobs.count + 1) * knobs.tick)
    return round(knobs.tabs + 1.4 * turn)


def servers(knobs):
    """What is compared: a name and what it stands for, and a server, not started."""
    both = {"COUNT": knobs.count, "TICK": f"{knobs.tick:g}", "DEBUG": int(knobs.debug)}
    both["WORKERS"] = knobs.workers
    # A worker boots no faster in FAST, unless the application is loaded before it.
    fast = f"--timeout {knobs.timeout:g} --preload" if knobs.fast else ""
    wsgi = partial(Server, "run-wsgi", **both, GUNICORN_CMD_ARGS=fast)
    many = knobs.workers > 1
    given = f"--workers {knobs.workers} " * many + knobs.gunicorn
    workers = f"worker{'s' * many}"
    return {
        ("WSGI", f"gunicorn, {knobs.workers} sync {workers}"): wsgi(),
        (f"WSGI {given}", "gunicorn with these options"): wsgi(GUNICORN=knobs.gunicorn),
        ("ASGI", f"uvicorn, {knobs.workers} {workers}"): Server("run-asgi", **both),
    }


class Comparison:
    """The same tabs on every server; now: seconds since the first ones opened."""

    def __init__(self, knobs, console):
        self.knobs, self.console = knobs, console
        names = servers(knobs)
        self.servers = [*names.values()]
        self.runs = [Run(*name, [[] for _ in range(knobs.tabs)]) for name in names]
        self.now = 0.0

    async def run(self):
        """Start the servers, open the tabs, and end the servers when time is up."""
        names = f"gunicorn, gunicorn {self.knobs.gunicorn} and uvicorn"
        line = f"Starting {names} for {self.knobs.seconds} seconds ..."
        self.console.print(line, highlight=False)
        with ExitStack() as stack:
            for server in self.servers:
                server.launch()
                stack.callback(server.kill)
            while not self.ready():
                await asyncio.sleep(0.05)
            await asyncio.gather(*(load(server) for server in self.servers))
            if not self.console.is_terminal:
                return await self.record(lambda picture, **_: None)
            with Live(console=self.console, screen=True, auto_refresh=False) as live:
                await self.record(live.update)

    def ready(self):
        """Whether all servers listen; RuntimeError if one has ended."""
        return all(server.ready() for server in self.servers)

    async def record(self, draw):
        """Record until time is up or every tab has reached Blastoff."""
        self.begin = time.monotonic()
        time_is_up = asyncio.timeout(self.knobs.seconds)
        with suppress(TimeoutError):
            async with time_is_up, asyncio.TaskGroup() as group:
                tabs = [group.create_task(tab) for tab in self.tabs()]
                while self.ready() and not all(tab.done() for tab in tabs):
                    self.clock()
                    draw(self.picture(self.console.height), refresh=True)
                    await asyncio.sleep(0.2)
        self.clock()

    def tabs(self):
        """Tabs that open, and count, when they are awaited."""
        for run, server in zip(self.runs, self.servers, strict=True):
            for place, records in enumerate(run.tabs):
                yield self.tab(server.url, place + 1, records)

    async def tab(self, url, tab, records):
        await asyncio.sleep(tab - 1)  # they open one second apart
        await browse(url, tab, records.append, self.clock)

    def clock(self):
        self.now = min(time.monotonic() - self.begin, self.knobs.seconds)
        return self.now

    def picture(self, height=None):
        """The timeline so far, under a line that says what is compared."""
        told = headline(self.knobs), self.runs, self.knobs.seconds, self.now
        return Timeline(*told, height)

    def report(self, console, height=None):
        """Print the timeline, no higher than that, and the summary under it."""
        for run, server in zip(self.runs, self.servers, strict=True):
            run.timeouts = server.log().count("WORKER TIMEOUT")
        console.print(self.picture(height))
        console.line()
        console.print(summary(self.runs, self.now))


async def load(server):
    """Have the application loaded: workers import it after they listen."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        while server.ready():
            with suppress(httpx.NetworkError, httpx.RemoteProtocolError):
                return (await client.get(server.url)).raise_for_status()
            await asyncio.sleep(0.05)


def headline(knobs):
    """What is compared, and how far that is from the post."""
    where, start = "on each of three servers", f"down from {knobs.count}."
    what = f"1 tab {where} counts {start}"
    if knobs.tabs > 1:
        what = f"{knobs.tabs} tabs, opened one second apart {where}, count {start}"
    text = Text(what, "bold")
    if (knobs.tick, knobs.timeout) != (TICK, TIMEOUT):
        times = f"{knobs.tick:g} s, gunicorn's timeout {knobs.timeout:g} s"
        text.append(f"\nNot the post's pace: an event every {times}.", "yellow")
    return text


async def until_signal(coroutine):
    """Await it; return the number of the signal that stopped it, or 0."""
    task, received = asyncio.create_task(coroutine), [0]

    def stop(ending):
        received.append(ending)
        task.cancel()

    for ending in SIGNALS:
        if signal.getsignal(ending) != signal.SIG_IGN:  # by nohup
            task.get_loop().add_signal_handler(ending, stop, ending)
    with suppress(asyncio.CancelledError):
        await task
    return received[-1]


def terminal():
    """A console for the standard output; without control codes if that is no screen."""
    screen = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return Console(force_terminal=screen)


def show(comparison):
    """Print the report; on a screen so that all of it stays in view."""
    console = comparison.console
    console.line()
    comparison.report(console, console.height - BELOW if console.is_terminal else None)


def save(comparison, path):
    """Save the report as a picture; it looks the same on light and on dark pages."""
    console = Console(record=True, width=80, file=io.StringIO())
    comparison.report(console)
    console.save_svg(path, title="make compare", theme=MONOKAI, code_format=SVG_FORMAT)


def main():
    knobs = read_knobs()
    comparison = Comparison(knobs, terminal())
    try:
        ending = asyncio.run(until_signal(comparison.run()))
    except* (RuntimeError, httpx.HTTPError, OSError) as group:
        error = group.exceptions[0]
        sys.exit(str(error) or repr(error))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no server is left to be ended
    if comparison.now:
        with suppress(OSError):  # the terminal may have been closed
            show(comparison)
        if knobs.svg:
            save(comparison, knobs.svg)
    sys.exit(128 + ending if ending else 0)


if __name__ == "__main__":
    main()
