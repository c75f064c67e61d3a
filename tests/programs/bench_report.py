"""How `make bench` shows its figures: a table for each number of streams, a plot."""

from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

# Title, attribute, unit, decimal places: a column of the table, a panel of the plot.
COLUMNS = (
    ("streams\non time", "on_time", 1, 0),
    ("\nthreads", "threads", 1, 0),
    ("KB per\nstream", "memory", 1e3, 1),
    ("µs to\nopen one", "open_cpu", 1e-6, 0),
    ("µs per\nevent", "event_cpu", 1e-6, 0),
    ("µs per\npage", "page_cpu", 1e-6, 0),
)
NOTHING = "-"
# As readable on white as on black.
GREY = "#777777"
FIRST, OTHERS = "#e8590c", "#8099b0"
COLORED = "text.color", "ytick.color"


def heading(f):
    """What all figures under it have in common."""
    pace = "second" if f.tick == 1 else f"{f.tick:g} seconds"
    return f"{f.streams:,} streams, an event every {pace} in each; µs of CPU time"


def number(value, unit, places):
    """The value in its unit; a dash for None."""
    return NOTHING if value is None else f"{value / unit:,.{places}f}"


def table(figures):
    """The figures of all contestants under the same load: a row for each."""
    look = {"box": SIMPLE_HEAD, "pad_edge": False, "show_edge": False}
    result = Table(title=heading(figures[0]), title_justify="left", **look)
    result.add_column(no_wrap=True)
    for title, *_ in COLUMNS:
        result.add_column(title, justify="right", vertical="bottom")
    for f in figures:
        cells = [number(getattr(f, name), *form) for _, name, *form in COLUMNS]
        result.add_row(f.contestant, *cells)
    return result


def plot(figures, path):
    """Draw what the most streams cost into an SVG file."""
    most = max(f.streams for f in figures)
    figures = [f for f in figures if f.streams == most]
    with rc_context({"svg.fonttype": "none", **dict.fromkeys(COLORED, GREY)}):
        size = (8.5, 1.2 + 0.3 * len(figures))
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(heading(figures[0]), fontsize="large")
        panels = figure.subplots(1, len(COLUMNS), sharey=True)
        for axes, column in zip(panels, COLUMNS, strict=True):
            draw(axes, figures, *column)
        panels[0].invert_yaxis()  # shared by all: the first contestant is at the top
        nothing = {"Date": None, "Creator": None}
        figure.savefig(path, format="svg", transparent=True, metadata=nothing)


def draw(axes, figures, title, name, *form):
    """A bar for each contestant, with its number."""
    values = [getattr(f, name) for f in figures]
    colors = [FIRST] + [OTHERS] * (len(figures) - 1)
    names, widths = [f.contestant for f in figures], [value or 0 for value in values]
    bars = axes.barh(names, widths, height=0.7, color=colors)
    axes.bar_label(bars, [number(v, *form) for v in values], padding=3)
    axes.set_title(title, fontsize="medium", loc="left")
    axes.margins(x=0.55)  # room for the numbers
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
