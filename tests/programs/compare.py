"""The same countdown on three servers, side by side, as their tabs receive it.

make compare [TABS=3] [FAST=1] [SERVER=gunicorn] [GUNICORN_CMD_ARGS="--timeout 0"], and
WORKERS, COUNT, TICK, DEBUG for all three; with `--svg FILE` it saves a picture, too.
"""

import argparse
import asyncio
import io
import itertools
import re
import sys
import time

from gunicorn.config import Timeout
from rich.console import CONSOLE_SVG_FORMAT, Console, Group
from rich.live import Live
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.programs.common import SERVER_KNOBS, add_knobs, run_program, serving
from tests.programs.timeline import Run, summary, timeline
from tests.support.server import Server
from tests.support.simulated_tab import browse

FAST = 0.2  # of the usual tick and timeout; a boot or a reconnection is never faster
# rich's template without the fonts that a viewer would download.
SVG_FORMAT = re.sub(r"@font-face {{.*?}}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def read_knobs(arguments=None):
    """Return what make's variables ask for, and what follows from them."""
    parser = argparse.ArgumentParser(prog="make compare", usage=argparse.SUPPRESS)
    add_knobs(parser, TABS=int, FAST=str, GUNICORN_CMD_ARGS=str, **SERVER_KNOBS)
    parser.add_argument("--svg", help="save the picture in this file")
    knobs = parser.parse_args(arguments)
    if knobs.tabs < 1:
        parser.error(f"TABS={knobs.tabs}: must be at least 1")
    pace = FAST if knobs.fast == "1" else 1
    knobs.tick, knobs.timeout = knobs.tick * pace, Timeout.default * pace
    turn = min(knobs.timeout, (knobs.count + 1) * knobs.tick)  # of a WSGI tab
    # All tabs can open, the first one can have its turn, and the next one can begin.
    knobs.seconds = round(knobs.tabs + 1.4 * turn)
    return knobs


def plan(knobs):
    """What is compared: a run for each server, which has not been started."""
    told = {name: getattr(knobs, name.lower()) for name in SERVER_KNOBS}
    workers = "worker" if knobs.workers == 1 else "workers"
    # Workers boot faster if the application has been loaded before them.
    fast = f"--timeout {knobs.timeout:g} --preload" if knobs.fast == "1" else ""

    def run(interface, description, options=""):
        target, arguments = f"run-{interface.lower()}", f"{fast} {options}"
        server = Server(target, **told, GUNICORN_CMD_ARGS=arguments)
        tabs = [[] for _ in range(knobs.tabs)]
        return Run(f"{interface} {options}".strip(), description, server, tabs)

    given, with_options = knobs.gunicorn_cmd_args, "gunicorn with these options"
    plain = f"gunicorn, {knobs.workers} sync {workers}"
    yield run("WSGI", with_options if given else plain, given)
    yield run("WSGI", with_options, f"{given} --threads 2".strip())
    if knobs.server == "gunicorn":
        yield run("ASGI", f"gunicorn, {knobs.workers} asgi {workers}", given)
    else:
        yield run("ASGI", f"uvicorn, {knobs.workers} {workers}")


class Comparison:
    """The same tabs on every server; now: seconds since the first ones opened."""

    def __init__(self, knobs, console):
        self.knobs, self.console, self.now = knobs, console, 0.0
        self.runs = [*plan(knobs)]

    async def run(self):
        """Run servers and tabs until time is up or all tabs have reached Blastoff."""
        line = f"Starting three servers for {self.knobs.seconds} seconds ..."
        self.console.print(line, highlight=False)
        async with serving(*(run.server for run in self.runs)):
            self.begin = time.monotonic()
            places = itertools.product(self.runs, range(self.knobs.tabs))
            tabs = (self.tab(run, place) for run, place in places)
            tabs = asyncio.gather(*tabs, return_exceptions=True)
            with Live(console=self.console, screen=True, auto_refresh=False) as live:
                while self.clock() < self.knobs.seconds and not tabs.done():
                    live.update(self.picture(), refresh=True)
                    await asyncio.sleep(0.2)

    async def tab(self, run, place):
        await asyncio.sleep(place)  # they open one second apart
        await browse(run.server.url, run.tabs[place].append, self.clock)

    def clock(self):
        self.now = min(time.monotonic() - self.begin, self.knobs.seconds)
        return self.now

    def picture(self):
        """The timeline so far, under a line that says what is compared."""
        until, width = self.knobs.seconds, self.console.width
        return Group(headline(self.knobs), timeline(self.runs, until, self.now, width))

    def report(self):
        """Print the timeline and the summary."""
        self.console.print(self.picture(), Text(), summary(self.runs, self.now))


def headline(knobs):
    """What is compared, and how far that is from the post."""
    tabs = f"{knobs.tabs} tabs, opened one second apart on each of three servers"
    text = Text(f"{tabs}, count down from {knobs.count}.", "bold")
    if (knobs.tick, knobs.timeout) != (1, Timeout.default):
        times = f"{knobs.tick:g} s, gunicorn's timeout {knobs.timeout:g} s"
        text.append(f"\nNot the post's pace: an event every {times}.", "yellow")
    return text


def main():
    knobs = read_knobs()
    comparison = Comparison(knobs, Console())
    status = run_program(comparison.run())
    if not comparison.now:
        sys.exit(status)  # it was ended before there was anything to see
    comparison.console.line()
    comparison.report()
    if knobs.svg:
        comparison.console = Console(record=True, width=80, file=io.StringIO())
        comparison.report()
        look = {"title": "make compare", "theme": MONOKAI, "code_format": SVG_FORMAT}
        comparison.console.save_svg(knobs.svg, **look)
    sys.exit(status)


if __name__ == "__main__":
    main()
