"""What `make compare` records, what it draws of that, and what it leaves behind."""

# ruff: noqa: RUF001, for the sign of a cut

import asyncio
import io
import re
import signal
import sys
import time
import uuid
from subprocess import PIPE, STDOUT
from xml.etree import ElementTree

import psutil
import pytest
from rich.console import Console
from rich.screen import Screen

from tests.programs.compare import Comparison, headline, read_knobs, show
from tests.programs.timeline import Run, Timeline, most_at_once, summary
from tests.support.server import make, run_make, start
from tests.support.tab import COUNTDOWN, Record, first, numbers

pytestmark = pytest.mark.slow
PATIENCE = 40  # seconds, on a busy machine


def comparison(*knobs, console=None):
    """The post's settings, whatever the tests' environment says."""
    knobs = read_knobs(["--count=100", "--tick=1", *knobs])
    return Comparison(knobs, console or Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def runs():
    """What the tabs of five real servers see, all at the same time; by their names."""
    fast = ("--fast=1", "--seconds=13")
    options = ("--threads 2", "--timeout 0", "--worker-class gevent")
    whole, *others = told = [comparison(*fast, f"--gunicorn={o}") for o in options]
    for other in others:  # the first and the third server are the same again
        other.runs, other.servers = other.runs[1:2], other.servers[1:2]

    async def run():
        await asyncio.gather(*(comparison.run() for comparison in told))

    asyncio.run(run())
    whole.report(whole.console)
    return {run.name: run for comparison in told for run in comparison.runs}


def test_one_after_the_other_over_wsgi(runs):
    one, *others = runs["WSGI"].tabs
    cut = first(one, "cut")
    turn = numbers(one[: one.index(cut)])
    assert turn == COUNTDOWN[: len(turn)]
    assert turn[-1] == cut.value
    begins = [first(tab, "number") for tab in others]
    assert any(begins)
    # The next number may come before a busy client has noticed the cut.
    assert all(record.at > cut.at - 1 for record in begins if record)
    assert runs["WSGI"].timeouts >= 1


@pytest.mark.parametrize(
    ("options", "counting"), [("--threads 2", 2), ("--timeout 0", 1)]
)
def test_no_cut_and_still_not_all_count(runs, options, counting):
    run = runs[f"WSGI {options}"]
    last = [tab[-1].kind for tab in run.tabs]
    assert last == ["number"] * counting + ["open"] * (3 - counting)
    assert most_at_once(run) == counting
    assert len(numbers(run.tabs[0])) > 32


@pytest.mark.parametrize("name", ["ASGI", "WSGI --worker-class gevent"])
def test_all_at_once(runs, name):
    assert most_at_once(runs[name]) == 3
    for tab in runs[name].tabs:
        assert [record.kind for record in tab[:3]] == ["open", "page", "number"]
        assert numbers(tab) == COUNTDOWN[: len(tab) - 2]


@pytest.mark.parametrize(
    ("knobs", "seconds"),
    [("", 45), ("--tabs=6", 48), ("--fast=1", 11), ("--count=10 --tick=0.5", 11)],
)
def test_it_runs_until_the_story_is_told(knobs, seconds):
    assert comparison(*knobs.split()).knobs.seconds == seconds


def test_knobs_reach_every_server():
    knobs = "--workers=2 --count=10 --tick=0.5 --debug=1 --fast=1"
    given = {"WORKERS": 2, "COUNT": 10, "TICK": "0.1", "DEBUG": 1}
    for server in comparison(*knobs.split()).servers:
        assert given.items() <= server.variables.items()


def tab(number, *records):
    return [Record(at, number, *what) for at, *what in records]


def count(begin, end):
    """A number per second, from 100."""
    seconds = range(int(end - begin) + 1)
    return [(begin + second, "number", 100 - second) for second in seconds]


WSGI = [
    tab(
        1,
        (0, "open"),
        (0.1, "page"),
        *count(0.1, 30.1),
        (30.2, "cut", 70),
        (33, "retry"),
    ),
    tab(2, (1, "open"), (30.6, "page"), *count(30.7, 45)),
]
LAST = (41.9, "number", 0), (42, "blastoff", 0)
ASGI = [
    tab(1, (0, "open"), (0.1, "page"), *count(0.2, 45)),
    tab(2, (1, "open"), (1.1, "page"), *count(1.2, 41), *LAST),
]
RECORDED = [Run("WSGI", "gunicorn", WSGI, timeouts=1), Run("ASGI", "uvicorn", ASGI)]
HEADLINE = headline(read_knobs(["--tabs=2", "--count=100", "--tick=1"]))
TIMELINE = Timeline(HEADLINE, RECORDED, 45, 45)


def draw(renderable, width=80):
    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def test_timeline_at_80_columns():
    assert (
        draw(TIMELINE)
        == """\
2 tabs, opened one second apart on each of three servers, count down from 100.

WSGI: gunicorn
  tab 1  ■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■×70  ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ waits
  tab 2   ········································╌■■■■■■■■■■■■■■■■■■■ 86

ASGI: uvicorn
  tab 1  ■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■ 56
  tab 2   ╌■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■ Blastoff!
         ╵     ╵      ╵      ╵      ╵     ╵      ╵      ╵      ╵      ╵
seconds  0     5      10     15     20    25     30     35     40     45
··· waits for its page   ╌╌╌ waits for an event   ■■■ counts   ×N cut at N
"""
    )


def test_timeline_fills_the_width():
    *_, scale, _ = draw(TIMELINE, 160).splitlines()
    assert scale.index("45") == 160 - len(" Blastoff!")


@pytest.mark.parametrize(
    ("tabs", "width", "height", "live_rows", "rows"),
    [(3, 80, 24, 3, 3), (6, 80, 24, 5, 3), (12, 120, 40, 10, 8)],
)
def test_all_of_it_is_on_the_screen(tabs, width, height, live_rows, rows):
    """The live picture, and the report above the shell's prompt."""
    file = io.StringIO()
    screen = {"width": width, "height": height, "_environ": {"TERM": "unknown"}}
    console = Console(file=file, force_terminal=True, **screen)
    told = comparison("--fast=1", f"--tabs={tabs}", console=console)
    console.print(Screen(told.picture(height)))
    live = file.getvalue().splitlines()
    assert len(live) == height
    show(told)
    report = file.getvalue().splitlines()[len(live) :]
    assert len(report) < height
    for lines, shown in (live, live_rows), (report, rows):
        assert lines[0].startswith(f"{tabs} tabs")
        assert sum(line.startswith("  tab ") for line in lines) == 3 * shown
        assert any(line.startswith("seconds") for line in lines)
        assert any("cut at N" in line for line in lines)
    assert report[-1].startswith("tabs that counted at once")


def test_summary():
    waiting = Run("--threads 1", "gunicorn", [[Record(1, 1, "open")], []])
    text = draw(summary([*RECORDED, waiting], 45))
    rows = [re.split("   +", line.strip()) for line in text.splitlines()]
    assert rows == [
        ["after 45 s", "WSGI", "ASGI", "--threads 1"],
        ["events delivered", "46", "86", "0"],
        ["longest wait for a page", "29.6 s", "0.1 s", "44.0 s, no page"],
        ["worker timeouts in the log", "1", "0", "0"],
        ["tabs that counted at once", "1 of 2", "2 of 2", "0 of 1"],
    ]


def test_pipe(tmp_path):
    """Not a terminal: no control codes. All knobs count, before make or behind it."""
    picture = tmp_path / "picture.svg"
    knobs = {"WORKERS": "2", "COUNT": "30", "TICK": "0.5", "FORCE_COLOR": "1"}
    command = ("compare", "FAST=1", "SECONDS=4", f"SVG={picture}")
    status, output, errors = run_make(*command, environment=knobs)
    assert status == 0, errors
    assert "\x1b" not in output
    assert max(map(len, output.splitlines())) <= 80
    assert "count down from 30.\n" in output
    assert "an event every 0.1 s, gunicorn's timeout 6 s.\n" in output
    assert "\nWSGI: gunicorn, 2 sync workers\n" in output
    assert "\nWSGI --workers 2 --threads 2: gunicorn with these options\n" in output
    assert "\nASGI: uvicorn, 2 workers\n" in output
    assert re.search(r"at once +2 of 3 .* 3 of 3\n$", output)
    texts = "".join(ElementTree.parse(picture).getroot().itertext())
    assert "tabs that counted at once" in texts.replace("\N{NO-BREAK SPACE}", " ")
    assert "url(http" not in texts


def test_bad_gunicorn_options():
    """What gunicorn says of them is shown, and no server is left."""
    told = comparison("--gunicorn=--nonsense")
    with pytest.raises(RuntimeError, match=r"(?s)run-wsgi failed.* --nonsense"):
        asyncio.run(told.run())
    assert all(server.process.poll() is not None for server in told.servers)


# Run a command in a terminal whose keyboard is the standard input.
IN_TERMINAL = "import pty, sys; pty.spawn(sys.argv[1:])"
HIDE_CURSOR, SHOW_CURSOR, LEAVE_SCREEN = "\x1b[?25l", "\x1b[?25h", "\x1b[?1049l"


class Terminal:
    """`make compare` in a terminal of its own, which writes what it shows to a file."""

    def __init__(self, file):
        self.file = file
        self.mark = f"TEST_{uuid.uuid4().hex}"  # in the environment of all in it
        command = [sys.executable, "-c", IN_TERMINAL, *make("compare", "SECONDS=60")]
        pipes = {"stdin": PIPE, "stdout": file.open("w"), "stderr": STDOUT}
        self.process = start(command, {self.mark: "", "TERM": "xterm"}, **pipes)

    def processes(self):
        every = psutil.process_iter(["environ"])  # None: somebody else's
        return [p for p in every if self.mark in (p.info["environ"] or ())]

    def press_ctrl_c(self):
        self.process.stdin.write("\x03")
        self.process.stdin.flush()

    def program(self):
        name = "tests.programs.compare"
        return next(p for p in self.processes() if name in p.cmdline())

    def close(self):
        """The shell in it passes the hang-up on, and then there is no screen."""
        self.program().send_signal(signal.SIGHUP)
        self.process.kill()


WAYS = {
    "Ctrl-C at the start": ("Starting", Terminal.press_ctrl_c),
    "Ctrl-C": ("tab 3", Terminal.press_ctrl_c),
    "kill": ("tab 3", lambda terminal: terminal.program().terminate()),
    "closed terminal": ("tab 3", Terminal.close),
}


@pytest.fixture
def terminals(tmp_path):
    terminals = {way: Terminal(tmp_path / way) for way in WAYS}
    yield terminals
    for terminal in terminals.values():
        for process in terminal.processes():
            process.kill()


def test_no_process_is_left(terminals):
    """Whatever ends it, in terminals side by side; the picture so far is printed."""
    for way, (moment, end) in WAYS.items():
        terminal = terminals[way]
        eventually(lambda t=terminal, text=moment: text in t.file.read_text())
        eventually(lambda t=terminal: len(t.processes()) > 7)  # the servers, too
        end(terminal)
    for terminal in terminals.values():
        eventually(lambda t=terminal: not t.processes())
    for way in "Ctrl-C", "kill":
        shown = terminals[way].file.read_text()
        assert shown.count(HIDE_CURSOR) <= shown.count(SHOW_CURSOR)
        assert "tabs that counted at once" in shown.rpartition(LEAVE_SCREEN)[2]
    assert f"Error {128 + signal.SIGTERM}" in terminals["kill"].file.read_text()


def eventually(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
