"""What `make compare` records, what it draws of that, and what it leaves behind."""

# ruff: noqa: RUF001, for the sign of a cut

import asyncio
import io
import signal
import sys
import time
import uuid
from itertools import pairwise
from xml.etree import ElementTree

import psutil
import pytest
from compare import Comparison, read_knobs
from harness import COUNTDOWN, Record, run_make, start_make
from rich.console import Console
from timeline import Run, Timeline, most_at_once, result, summary

pytestmark = pytest.mark.slow
MOMENT = 3  # seconds, on a busy machine


def compare(*knobs):
    """One run on the real servers."""
    comparison = Comparison(
        read_knobs(["--fast=1", *knobs]), Console(file=io.StringIO())
    )
    asyncio.run(comparison.run())
    return comparison


def test_story():
    """One after the other, two and never the third, all at once."""
    comparison = compare("--seconds=19")  # a third turn begins, and no countdown ends
    wsgi, threads, asgi = comparison.runs
    check_turns(wsgi)
    check_wall(threads)
    check_all_at_once(asgi)
    assert threads.name == "WSGI --threads 2"
    assert result(comparison.runs, comparison.now) == (
        "Counting together: "
        "1 of 3 tabs over WSGI, 2 over WSGI --threads 2, 3 over ASGI."
    )


def test_story_of_workers():
    """Each worker's stream is cut; then the tabs that waited have their turn."""
    _, workers, _ = compare("--seconds=14", "--gunicorn=--workers 2").runs
    first = {tab: workers.tab(tab)[1].at for tab in (1, 2, 3)}  # after it was opened
    assert workers.name == "WSGI --workers 2"
    assert most_at_once(workers) == workers.threads == 2
    assert first[1] < first[2] < first[3]
    assert tabs(workers.records, "cut") & {1, 2}
    assert workers.timeouts >= 1


def test_story_of_gevent():
    """The blocking generator counts in every tab, and no stream holds a thread."""
    _, gevent, _ = compare("--seconds=10", "--gunicorn=--worker-class gevent").runs
    check_all_at_once(gevent)


def check_turns(wsgi):
    cut = next(record for record in wsgi.records if record.kind == "cut")
    # The next page may come before a busy client has noticed the cut.
    before = [record for record in wsgi.records if record.at < cut.at - 0.5]
    assert tabs(before, "open") == {1, 2, 3}
    assert tabs(before, "page") == tabs(before, "number") == {1}
    counted = [record.value for record in before if record.kind == "number"]
    assert counted == COUNTDOWN[: len(counted)]
    assert cut.tab == 1
    assert counted[-1] - 5 < cut.value <= counted[-1]
    assert cut.at > 5
    assert len(tabs(wsgi.records, "number")) > 1
    assert wsgi.timeouts >= 1
    assert wsgi.threads == 1


def check_wall(threads):
    assert tabs(threads.records, "open") == {1, 2, 3}
    assert tabs(threads.records, "page") == tabs(threads.records, "number") == {1, 2}
    assert tabs(threads.records, "cut") == set()
    assert threads.timeouts == 0
    assert threads.threads == 2


def check_all_at_once(run):
    for number in (1, 2, 3):
        tab = run.tab(number)
        numbers = [record.value for record in tab if record.kind == "number"]
        assert [record.kind for record in tab[:3]] == ["open", "page", "number"]
        assert numbers == COUNTDOWN[: len(numbers)]
        assert len(numbers) > 20
        assert max(after.at - before.at for before, after in pairwise(tab)) < MOMENT
    assert tabs(run.records, "cut") == set()
    assert run.timeouts == run.threads == 0


def tabs(records, kind):
    return {record.tab for record in records if record.kind == kind}


def stream(tab, begin, end):
    """A number per second, from 100."""
    return [
        Record(begin + second, tab, "number", 100 - second)
        for second in range(int(end - begin) + 1)
    ]


RECORDED = [
    Run(
        "WSGI",
        "gunicorn",
        [
            Record(0.0, 1, "open"),
            Record(0.1, 1, "page"),
            *stream(1, 0.1, 30.1),
            Record(30.2, 1, "cut", 70),
            Record(33.2, 1, "retry"),
            Record(1.0, 2, "open"),
            Record(30.6, 2, "page"),
            *stream(2, 30.7, 45),
        ],
        timeouts=1,
        threads=1,
    ),
    Run(
        "ASGI",
        "uvicorn",
        [
            Record(0.0, 1, "open"),
            Record(0.1, 1, "page"),
            *stream(1, 0.2, 45),
            Record(1.0, 2, "open"),
            Record(1.1, 2, "page"),
            *stream(2, 1.2, 41),
            Record(41.9, 2, "number", 0),
            Record(42.0, 2, "blastoff", 0),
        ],
    ),
]


def draw(renderable, width=80, **options):
    console = Console(width=width, file=io.StringIO(), **options)
    console.print(renderable)
    return console.file.getvalue()


def test_timeline_at_80_columns():
    assert (
        draw(Timeline(RECORDED, 2, 45, 45))
        == """\
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


@pytest.mark.parametrize("width", [80, 160])
def test_timeline_fills_the_width(width):
    lines = draw(Timeline(RECORDED, 2, 45, 45), width).splitlines()
    column = (width - len("  tab 1  ") - len(" Blastoff!")) / 45  # per second
    first, second = lines[1][9:], lines[2][9:]
    assert max(map(len, lines)) <= width
    assert first.index("×70") == int(30.2 * column)
    assert first.count("■") == pytest.approx(30 * column, abs=1)
    assert first.count("╌") == pytest.approx((45 - 33.2) * column, abs=1)
    assert second.count("·") == pytest.approx(29.6 * column, abs=1)
    assert second.count("■") == pytest.approx((45 - 30.7) * column, abs=1)
    assert lines[-2].rindex("45") - 9 == int(45 * column)


def test_timeline_grows():
    lines = draw(Timeline(RECORDED, 2, 45, 15)).splitlines()
    assert lines[1].endswith("■ 86")
    assert lines[2].endswith("· waits")
    assert lines[5].endswith("■ 86")


def test_timeline_before_the_first_tab():
    assert "■ counts" in draw(Timeline([Run("WSGI", "gunicorn")], 3, 45, 0))


def test_timeline_on_a_low_screen():
    console = Console(width=80, height=12, file=io.StringIO())
    lines = console.render_lines(
        Timeline(RECORDED, 40, 45, 45), console.options.update(height=12)
    )
    text = ["".join(segment.text for segment in line).rstrip() for line in lines]
    assert len(text) <= 12
    assert text[0] == "WSGI: gunicorn (39 more tabs)"


def test_summary():
    rows = [line.split("  ") for line in draw(summary(RECORDED, 45)).splitlines()]
    table = {row[0]: [cell.strip() for cell in row[1:] if cell] for row in rows}
    assert table["tabs that got an event"] == ["2 of 2", "2 of 2"]
    assert table["events delivered"] == ["46", "86"]
    assert table["longest wait for a page"] == ["29.6 s", "0.1 s"]
    assert table["worker timeouts in the log"] == ["1", "0"]
    assert table["threads held by its streams"] == ["1", "0"]


def test_summary_of_a_page_that_never_comes():
    run = Run("WSGI", "gunicorn", [Record(1.0, 1, "open")])
    assert "8.0 s, no page" in draw(summary([run], 9))


def test_result():
    wsgi, asgi = RECORDED
    waits = "Counting together: 1 of 2 tabs over WSGI, 2 over ASGI."
    alike = "No tab waited for another: more tabs, or more time, show a difference."
    assert result([wsgi, asgi], 45) == waits
    assert result([asgi], 45) == alike
    assert (
        result([Run("WSGI", "gunicorn")], 2)
        == "No tab received an event in 2.0 seconds."
    )


def test_pipe(tmp_path):
    """Not a terminal: lines as they come, and a report without control codes."""
    picture = tmp_path / "picture.svg"
    knobs = ("FAST=1", "SECONDS=5", f"SVG={picture}")
    color = {"FORCE_COLOR": "1"}
    status, output, _ = run_make("compare", *knobs, environment=color)
    assert status == 0
    assert "\x1b" not in output
    assert max(map(len, output.splitlines())) <= 80
    assert "ASGI              tab 3  counts from 100\n" in output
    assert output.count("counts from") == 6
    assert output.endswith("3 over ASGI.\n")
    texts = "".join(ElementTree.parse(picture).getroot().itertext())
    assert "3 over ASGI." in texts.replace("\N{NO-BREAK SPACE}", " ")
    assert "url(http" not in texts


def test_signals(mark):
    """A killed program and a closed terminal end the servers, too."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        process = start_make("compare", "FAST=1", environment=mark)
        read_until(process, "counts from")
        program = next(
            p for p in marked(mark) if "tests/programs/compare.py" in p.cmdline()
        )
        program.send_signal(number)
        output, error = process.communicate(timeout=MOMENT * 5)
        assert f"Error {128 + number}" in error
        assert "seconds  0" in output
        assert eventually(lambda: marked(mark) == [])


def test_ctrl_c(mark):
    """While servers start, and while tabs count: the picture so far, and no process."""
    for moment, picture in (("Starting", ""), ("tab 3", "after")):
        environment = mark | {"TERM": "xterm"}
        terminal = start_make(
            "compare", "FAST=1", environment=environment, prefix=TERMINAL
        )
        read_until(terminal, moment)
        assert eventually(lambda: len(marked(mark)) > 7)  # the servers, too
        terminal.stdin.write("\x03")
        terminal.stdin.flush()
        output = terminal.stdout.read()
        assert terminal.wait() == 128 + signal.SIGINT
        assert picture in output.rpartition(LEAVE_SCREEN)[2]
        assert output.rfind(SHOW_CURSOR) >= output.rfind(HIDE_CURSOR)
        assert eventually(lambda: marked(mark) == [])


# Run a command in a terminal whose keyboard is the standard input; end as shells do.
IN_TERMINAL = """
import os, pty, sys
status = os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:]))
sys.exit(status if status >= 0 else 128 - status)
"""
TERMINAL = [sys.executable, "-c", IN_TERMINAL]
HIDE_CURSOR, SHOW_CURSOR, LEAVE_SCREEN = "\x1b[?25l", "\x1b[?25h", "\x1b[?1049l"


def read_until(process, text):
    while text not in process.stdout.readline():
        assert process.poll() is None


@pytest.fixture
def mark():
    """An environment by which to find all processes that a test has started."""
    return {"STARTED_BY_TEST": uuid.uuid4().hex}


def marked(mark):
    return [process for process in psutil.process_iter() if has_mark(process, mark)]


def has_mark(process, mark):
    try:
        return mark.items() <= process.environ().items()
    except psutil.Error:  # ended, or somebody else's
        return False


def eventually(condition):
    deadline = time.monotonic() + MOMENT * 5
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds  # asked once more, it may hold no longer


def test_bad_gunicorn_options():
    """The end of gunicorn's log, and no server is left."""
    knobs = read_knobs(["--gunicorn=--nonsense"])
    comparison = Comparison(knobs, Console(file=io.StringIO()))
    with pytest.raises(RuntimeError, match=r"(?s)run-wsgi failed.*--nonsense"):
        asyncio.run(comparison.run())
    assert all(side.server.process.poll() is not None for side in comparison.sides)


def test_bad_gunicorn_options_in_the_terminal():
    status, _, errors = run_make("compare", "GUNICORN=--nonsense")
    assert status != 0
    assert "gunicorn: unrecognized arguments: --nonsense" in errors
