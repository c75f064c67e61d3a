"""Draw what tabs have seen, from their records alone: a timeline and a summary."""

from bisect import bisect_right
from operator import attrgetter
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from tests.support.server import Server
from tests.support.simulated_tab import received

# What a tab does after a record: a glyph that tells it without colour.
AFTER = {"open": "·", "page": "╌", "retry": "╌", "number": "■"}
CUT = "\N{MULTIPLICATION SIGN}"
LEGEND = "··· waits for its page   ╌╌╌ waits for an event   ■■■ counts"
STYLES = {
    r"(?m)^.SGI[^:]*": "bold",
    r"(?m)(?<=[╌■] )\d+$|Blastoff!": "bold green",
    r"(?m)^seconds.*|[·╵]+|waits$": "dim",
    "╌+": "yellow",
    "■+": "green",
    rf"{CUT}[\dN]*": "bold red",
}
MARGIN = len(" Blastoff!")  # what is left free at the end of a row
STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)  # seconds between the ticks


class Run(NamedTuple):
    """A server, and the records of each of its tabs."""

    name: str
    description: str
    server: Server
    tabs: list


def timeline(runs, seconds, now, width):
    """The picture: a row per tab, grouped by server; it ends after so many seconds."""
    label = max(len(f"  tab {len(run.tabs)}  ") for run in runs)
    columns = max(width - label - MARGIN, 10)
    lines = []
    for run in runs:
        lines += ["", f"{run.name}: {run.description}"]
        for number, records in enumerate(run.tabs, start=1):
            row = draw(records, columns / seconds, now)
            lines.append(f"  tab {number}".ljust(label) + row)
    legend = f"{LEGEND}   {CUT}N cut at N"
    picture = Text("\n".join([*lines, *scale(label, columns, seconds), legend]))
    for pattern, style in STYLES.items():
        picture.highlight_regex(pattern, style)
    return picture


def draw(records, per_second, now):
    """One row: a glyph per column, cuts written over them, and how the tab stands."""
    if not records:
        return ""
    last = records[-1]
    end = round(per_second * (last.at if last.kind == "blastoff" else now))
    row = "".join(does(records, (column + 0.5) / per_second) for column in range(end))
    for cut in (record for record in records if record.kind == "cut"):
        column, mark = int(cut.at * per_second), f"{CUT}{cut.value or ''}"
        row = row[:column].ljust(column) + mark + row[column + len(mark) :]
    words = {"number": str(last.value), "blastoff": "Blastoff!", "cut": ""}
    return f"{row} {words.get(last.kind, 'waits')}"


def does(records, at):
    """The glyph for what a tab does at this moment."""
    index = bisect_right(records, at, key=attrgetter("at"))
    return AFTER.get(records[index - 1].kind, " ") if index else " "


def scale(label, columns, seconds):
    """The seconds under the rows, every 6 columns or more."""
    apart = max(6, columns / 10) * seconds / columns
    step = next((step for step in STEPS if step >= apart), STEPS[-1])
    ticks, below = "", "seconds"
    for second in range(0, int(seconds) + 1, step):
        column = label + int(second * columns / seconds)
        ticks = ticks.ljust(column) + "╵"
        below = below.ljust(column) + str(second)
    return ticks, below


def summary(runs, now):
    """What the servers delivered, and how many tabs counted at the same time."""
    rows = {
        "events delivered": lambda run: sum(len(received(tab)) for tab in run.tabs),
        "worker timeouts in the log": lambda r: r.server.log().count("WORKER TIMEOUT"),
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


def most_at_once(run):
    """The largest number of tabs that counted at the same time."""
    doing, most = [None] * len(run.tabs), 0
    kinds = [(r.at, tab, r.kind) for tab, seen in enumerate(run.tabs) for r in seen]
    for _, tab, kind in sorted(kinds):
        doing[tab] = kind
        most = max(most, doing.count("number"))
    return most
