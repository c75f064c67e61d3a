"""Draw what tabs have seen, from their records alone: a timeline and a summary."""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import attrgetter

from rich.table import Table
from rich.text import Text

from tests.support.tab import Record

# What a tab does after a record: a glyph that tells it without colour, and a style.
PAGE = ("·", "dim")
EVENT = ("╌", "yellow")
COUNTS = ("■", "green")
NOTHING = (" ", "")
AFTER = {"open": PAGE, "page": EVENT, "retry": EVENT, "number": COUNTS}
CUT = "bold red"
MARK = "\N{MULTIPLICATION SIGN}"
ASCII = str.maketrans(f"·╌■{MARK}╵", ".-=x'")

MARGIN = len(" Blastoff!")  # what is left free at the end of a row
STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


@dataclass
class Run:
    """What each tab of one server has seen; timeouts: worker timeouts in its log."""

    name: str
    server: str
    tabs: list[list[Record]] = field(default_factory=list)
    timeouts: int = 0

    def opened(self):
        """The records of the tabs that have been opened."""
        return [tab for tab in self.tabs if tab]


@dataclass(frozen=True)
class Timeline:
    """A row per tab, grouped by server, as wide as the console; seconds is its end.

    height: lines at most, so that the last tabs of each server may be left out. The
    console's own does not arrive here: rich's Screen and Group take it away.
    """

    headline: Text
    runs: list[Run]
    seconds: float
    now: float
    height: int | None = None

    def __rich_console__(self, console, options):
        for line in self.lines(options.max_width):
            if options.ascii_only:
                line.plain = line.plain.translate(ASCII)
            line.no_wrap, line.overflow = True, "ellipsis"
            yield line

    def lines(self, width):
        tabs = max(len(run.tabs) for run in self.runs)
        label = len(f"  tab {tabs}  ")
        columns = max(width - label - MARGIN, 10)
        lines = [*self.headline.split()]
        foot = [*scale(label, columns, self.seconds), legend()]
        room = (self.height or 1000) - len(lines) - len(foot)
        shown = max(1, min(tabs, room // len(self.runs) - 1))
        gap = [Text()] * (room >= len(self.runs) * (shown + 2))
        for run in self.runs:
            lines += gap + self.group(run, shown, label, columns)
        return lines + foot

    def group(self, run, shown, label, columns):
        """The server's name, and the rows of its first tabs."""
        all_tabs = len(run.tabs)
        some = f" ({shown} of {all_tabs} tabs)" if shown < all_tabs else ""
        lines = [Text.assemble((run.name, "bold"), f": {run.server}{some}")]
        for number, records in enumerate(run.tabs[:shown], start=1):
            row = draw(records, columns / self.seconds, self.now)
            lines.append(Text(f"  tab {number}".ljust(label)) + row)
        return lines


def draw(records, per_second, now):
    """One row: a glyph per column, cuts written over them, and how the tab stands."""
    if not records:
        return Text()
    last, row = records[-1], Text()
    end = last.at if last.kind == "blastoff" else now
    middles = ((column + 0.5) / per_second for column in range(round(end * per_second)))
    for (glyph, style), same in groupby(does(records, middle) for middle in middles):
        row.append(glyph * len(list(same)), style)
    for record in records:
        if record.kind == "cut":
            cut = Text(f"{MARK}{record.value or ''}", CUT)
            row = put(row, int(record.at * per_second), cut)
    return put(row, len(row) + 1, state(last))


def does(records, at):
    """What a tab does at this moment."""
    index = bisect_right(records, at, key=attrgetter("at"))
    return AFTER.get(records[index - 1].kind, NOTHING) if index else NOTHING


def state(last):
    """The word at the end of a row."""
    words = {"number": str(last.value), "blastoff": "Blastoff!", "cut": ""}
    waits = last.kind not in words
    return Text("waits", "dim") if waits else Text(words[last.kind], "bold green")


def put(row, column, text):
    """Write over the row, which grows as needed."""
    end = column + len(text)
    row.pad_right(max(0, end - len(row)))
    return row[:column] + text + row[end:]


def scale(label, columns, seconds):
    """The seconds under the rows, every 6 columns or more."""
    apart = max(6, columns / 10) * seconds / columns
    step = next((step for step in STEPS if step >= apart), STEPS[-1])
    ticks, numbers = "", "seconds"
    for second in range(0, int(seconds) + 1, step):
        column = label + int(second * columns / seconds)
        ticks = ticks.ljust(column) + "╵"
        numbers = numbers.ljust(column) + str(second)
    return Text(ticks, "dim"), Text(numbers, "dim")


def legend():
    states = (
        (PAGE, "waits for its page"),
        (EVENT, "waits for an event"),
        (COUNTS, "counts"),
    )
    line = Text()
    for (glyph, style), text in states:
        line.append(glyph * 3, style).append(f" {text}   ")
    return line.append(f"{MARK}N", CUT).append(" cut at N")


def summary(runs, now):
    """What the servers delivered, and how many tabs counted at the same time."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(f"after {now:.0f} s")
    for run in runs:
        table.add_column(run.name, justify="right")
    table.add_row("events delivered", *(str(events(run)) for run in runs))
    table.add_row("longest wait for a page", *(wait(run, now) for run in runs))
    table.add_row("worker timeouts in the log", *(str(run.timeouts) for run in runs))
    together = (f"{most_at_once(run)} of {len(run.opened())}" for run in runs)
    table.add_row("tabs that counted at once", *together, style="bold")
    return table


def events(run):
    return sum(record.kind == "number" for tab in run.tabs for record in tab)


def wait(run, now):
    """The longest time between opening a tab and its page, or until now without one."""
    tabs = run.opened()
    waits = ((tab[1].at if tab[1:] else now) - tab[0].at for tab in tabs)
    never = any(len(tab) == 1 for tab in tabs)
    return f"{max(waits, default=0):.1f} s" + ", no page" * never


def most_at_once(run):
    """The largest number of tabs that counted at the same time."""
    last, most = {}, 0
    for record in sorted(chain(*run.tabs), key=attrgetter("at")):
        last[record.tab] = record.kind
        most = max(most, [*last.values()].count("number"))
    return most
