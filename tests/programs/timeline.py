"""Draw what tabs have seen, from their records alone: timeline, summary, result."""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate, chain, groupby
from operator import attrgetter, itemgetter

from harness import Record
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

# What a tab does after a record: a glyph that tells it without colour, and a style.
PAGE = ("·", "dim")
EVENT = ("╌", "yellow")
COUNTS = ("■", "green")
NOTHING = (" ", "")
AFTER = {
    "open": PAGE,
    "page": EVENT,
    "retry": EVENT,
    "number": COUNTS,
    "cut": NOTHING,
    "blastoff": NOTHING,
}
CUT = "bold red"
MARK = "\N{MULTIPLICATION SIGN}"
ASCII = str.maketrans(f"·╌■{MARK}╵", ".-=x'")

MARGIN = len(" Blastoff!")  # what is left free at the end of a row
STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


@dataclass
class Run:
    """What the tabs of one server have seen, and what it cost the server.

    timeouts: worker timeouts in the log; threads: the worker started for its streams.
    """

    name: str
    server: str
    records: list[Record] = field(default_factory=list)
    timeouts: int = 0
    threads: int = 0

    def tabs(self):
        """The records of every tab that was opened."""
        numbers = sorted({record.tab for record in self.records})
        return [self.tab(number) for number in numbers]

    def tab(self, number):
        """The records of one tab."""
        return [record for record in self.records if record.tab == number]


@dataclass(frozen=True)
class Timeline:
    """A row per tab, grouped by server, as wide as the console; seconds is its end.

    Where the console is too low, the last tabs of each server are left out.
    """

    runs: list[Run]
    tabs: int
    seconds: float
    now: float

    def __rich_console__(self, console, options):
        label = len(f"  tab {self.tabs}  ")
        columns = max(options.max_width - label - MARGIN, 10)
        shown = self.shown(options.height)
        for line in self.lines(label, columns, shown):
            if options.ascii_only:
                line.plain = line.plain.translate(ASCII)
            yield line

    def shown(self, height):
        if height is None:
            return self.tabs
        return max(1, min(self.tabs, (height - 6) // len(self.runs) - 2))

    def lines(self, label, columns, shown):
        scale = columns / self.seconds
        for run in self.runs:
            hidden = f" ({self.tabs - shown} more tabs)" if shown < self.tabs else ""
            yield Text.assemble((run.name, "bold"), f": {run.server}{hidden}")
            for number in range(1, shown + 1):
                row = draw_tab(run.tab(number), scale, self.now)
                yield Text(f"  tab {number}".ljust(label)).append_text(row)
            if run is not self.runs[-1]:
                yield Text()
        yield from draw_scale(label, columns, self.seconds)
        yield legend()


def draw_tab(records, scale, now):
    """One row: a glyph per column, cuts written over them, and how the tab stands."""
    records = records[: bisect_right(records, now, key=attrgetter("at"))]
    if not records:
        return Text()
    last = records[-1]
    end = last.at if last.kind == "blastoff" else now
    columns = range(round(end * scale))
    cells = [glyph(records, (column + 0.5) / scale) for column in columns]
    for record in records:
        if record.kind == "cut":
            put(cells, int(record.at * scale), f"{MARK}{record.value or ''}", CUT)
    put(cells, len(cells) + 1, *status(last))
    return join(cells)


def glyph(records, at):
    """What a tab does at this moment."""
    index = bisect_right(records, at, key=attrgetter("at"))
    return AFTER[records[index - 1].kind] if index else NOTHING


def status(last):
    """The word at the end of a row."""
    match last.kind:
        case "number":
            return str(last.value), "bold green"
        case "blastoff":
            return "Blastoff!", "bold green"
        case "cut":
            return NOTHING
    return "waits", "dim"


def put(cells, column, text, style):
    """Write over the cells, which grow as needed."""
    cells += [NOTHING] * (column + len(text) - len(cells))
    cells[column : column + len(text)] = [(character, style) for character in text]


def join(cells):
    styles = groupby(cells, key=itemgetter(1))
    parts = [("".join(glyph for glyph, _ in run), style) for style, run in styles]
    return Text.assemble(*parts)


def draw_scale(label, columns, seconds):
    """The seconds under the rows, every 6 columns or more."""
    scale = columns / seconds
    apart = max(6, columns / 10)
    step = next((step for step in STEPS if step * scale >= apart), STEPS[-1])
    ticks, numbers = [], []
    for second in range(0, int(seconds) + 1, step):
        put(ticks, int(second * scale), "╵", "dim")
        put(numbers, int(second * scale), str(second), "dim")
    yield Text(" " * label).append_text(join(ticks))
    yield Text("seconds".ljust(label)).append_text(join(numbers))


def legend():
    states = (
        (PAGE, "waits for its page"),
        (EVENT, "waits for an event"),
        (COUNTS, "counts"),
    )
    parts = [((glyph * 3, style), f" {text}   ") for (glyph, style), text in states]
    return Text.assemble(*chain(*parts), (f"{MARK}N", CUT), " cut at N")


def summary(runs, now):
    """What the servers delivered, and at what cost."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(f"after {now:.0f} s")
    for run in runs:
        table.add_column(run.name, justify="right")
    for text, measure in MEASURES.items():
        table.add_row(text, *(str(measure(run, now)) for run in runs))
    return table


def moved(run, now):
    counted = sum(any(r.kind == "number" for r in tab) for tab in run.tabs())
    return f"{counted} of {len(run.tabs())}"


def events(run, now):
    return sum(record.kind == "number" for record in run.records)


def longest_wait(run, now):
    waits = [wait_for_page(tab, now) for tab in run.tabs()]
    wait, came = max(waits, default=(0, True))
    return f"{wait:.1f} s" if came else f"{wait:.1f} s, no page"


def wait_for_page(tab, now):
    """Seconds from opening the tab to its page, or until now, and whether it came."""
    page = next((record.at for record in tab if record.kind == "page"), None)
    return (now if page is None else page) - tab[0].at, page is not None


def threads(run, now):
    return min(run.threads, most_at_once(run))  # a pool may have some to spare


MEASURES = {
    "tabs that got an event": moved,
    "events delivered": events,
    "longest wait for a page": longest_wait,
    "worker timeouts in the log": lambda run, now: run.timeouts,
    "threads held by its streams": threads,
}


def result(runs, now):
    """The result in one sentence."""
    most = [(run.name, most_at_once(run), len(run.tabs())) for run in runs]
    if not any(counted for _, counted, _ in most):
        return f"No tab received an event in {now:.1f} seconds."
    if all(counted == opened for _, counted, opened in most):
        return "No tab waited for another: more tabs, or more time, show a difference."
    (name, counted, opened), *others = most
    first = f"Counting together: {counted} of {opened} tabs over {name}"
    return ", ".join([first, *(f"{n} over {name}" for name, n, _ in others)]) + "."


def most_at_once(run):
    """The largest number of tabs that counted at the same time."""
    changes = [change for tab in run.tabs() for change in counting_changes(tab)]
    return max(accumulate(step for _, step in sorted(changes)), default=0)


def counting_changes(tab):
    """Yield when the tab starts (+1) and ends (-1) to count."""
    counting = False
    for record in tab:
        if (record.kind == "number") != counting:
            counting = not counting
            yield record.at, 1 if counting else -1
