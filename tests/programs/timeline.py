"""Draw what tabs have seen, from their records alone: a timeline and a summary."""

from bisect import bisect_right
from itertools import groupby
from operator import attrgetter

from rich.table import Table
from rich.text import Text

from tests.support.simulated_tab import received

# What a tab does after a record: a glyph that tells it without colour.
AFTER = {"open": "·", "page": "╌", "retry": "╌", "number": "■"}
STATES = {"·": "waits for its page", "╌": "waits for an event", "■": "counts"}
STYLES = {"·": "dim", "╌": "yellow", "■": "green", " ": ""}
CUT = "bold red"
MARK = "\N{MULTIPLICATION SIGN}"
MARGIN = len(" Blastoff!")  # what is left free at the end of a row
STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)  # seconds between the ticks


class Run:
    """What each tab of one server has seen; timeouts: worker timeouts in its log."""

    def __init__(self, name, description, tabs, server=None):
        self.name, self.description, self.server = name, description, server
        self.timeouts = 0
        self.tabs = [[] for _ in range(tabs)]


def timeline(runs, seconds, now, width, spaced=True):
    """The picture's lines: a row per tab, grouped by server; it ends after seconds."""
    label = max(len(f"  tab {len(run.tabs)}  ") for run in runs)
    columns = max(width - label - MARGIN, 10)
    lines = []
    for run in runs:
        lines += [Text()] * spaced
        lines.append(Text.assemble((run.name, "bold"), f": {run.description}"))
        for number, records in enumerate(run.tabs, start=1):
            row = draw(records, columns / seconds, now)
            lines.append(Text(f"  tab {number}".ljust(label)) + row)
    return [*lines, *scale(label, columns, seconds), legend()]


def draw(records, per_second, now):
    """One row: a glyph per column, cuts written over them, and how the tab stands."""
    if not records:
        return Text()
    last, row = records[-1], Text()
    end = last.at if last.kind == "blastoff" else now
    middles = ((column + 0.5) / per_second for column in range(round(end * per_second)))
    for glyph, same in groupby(does(records, middle) for middle in middles):
        row.append("".join(same), STYLES[glyph])
    for cut in (record for record in records if record.kind == "cut"):
        text = Text(f"{MARK}{cut.value or ''}", CUT)
        row = put(row, int(cut.at * per_second), text)
    words = {"number": str(last.value), "blastoff": "Blastoff!", "cut": ""}
    style = "bold green" if last.kind in words else "dim"
    return put(row, len(row) + 1, Text(words.get(last.kind, "waits"), style))


def does(records, at):
    """The glyph for what a tab does at this moment."""
    index = bisect_right(records, at, key=attrgetter("at"))
    return AFTER.get(records[index - 1].kind, " ") if index else " "


def put(row, column, text):
    """Write over the row, which grows as needed."""
    end = column + len(text)
    row.pad_right(max(0, end - len(row)))
    return row[:column] + text + row[end:]


def scale(label, columns, seconds):
    """The seconds under the rows, every 6 columns or more."""
    apart = max(6, columns / 10) * seconds / columns
    step = next((step for step in STEPS if step >= apart), STEPS[-1])
    ticks, below = "", "seconds"
    for second in range(0, int(seconds) + 1, step):
        column = label + int(second * columns / seconds)
        ticks = ticks.ljust(column) + "╵"
        below = below.ljust(column) + str(second)
    return Text(ticks, "dim"), Text(below, "dim")


def legend():
    line = Text()
    for glyph, text in STATES.items():
        line.append(glyph * 3, STYLES[glyph]).append(f" {text}   ")
    return line.append(f"{MARK}N", CUT).append(" cut at N")


def summary(runs, now):
    """What the servers delivered, and how many tabs counted at the same time."""
    rows = {
        "events delivered": lambda run: sum(len(received(tab)) for tab in run.tabs),
        "longest wait for a page": lambda run: longest_wait(run, now),
        "worker timeouts in the log": attrgetter("timeouts"),
        "tabs that counted at once": lambda r: f"{most_at_once(r)} of {len(r.tabs)}",
    }
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(f"after {now:.0f} s", no_wrap=True)
    for run in runs:
        table.add_column(run.name, justify="right")
    for name, value in rows.items():
        table.add_row(name, *(str(value(run)) for run in runs))
    table.rows[-1].style = "bold"
    return table


def longest_wait(run, now):
    """The longest time between opening a tab and its page, or until now without one."""
    waits = [[record.at for record in tab[:2]] for tab in run.tabs if tab]
    longest = max(((times[1:] or [now])[0] - times[0] for times in waits), default=0)
    return f"{longest:.1f} s" + ", no page" * any(len(times) == 1 for times in waits)


def most_at_once(run):
    """The largest number of tabs that counted at the same time."""
    doing, most = [None] * len(run.tabs), 0
    kinds = [(r.at, tab, r.kind) for tab, seen in enumerate(run.tabs) for r in seen]
    for _, tab, kind in sorted(kinds):
        doing[tab] = kind
        most = max(most, doing.count("number"))
    return most
