"""How `make bench` shows its figures: a table for each number of streams, a plot."""

import math

from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

COUNTS = "streams\nopen", "on\ntime", "threads"
# What it is, attribute, unit, decimal places.
COSTS = (
    ("memory\nper\nstream,\nKB", "memory", 1e3, 1),
    ("CPU to\nopen\none,\nµs", "open_cpu", 1e-6, 0),
    ("CPU\nper\nevent,\nµs", "event_cpu", 1e-6, 0),
    ("gap,\n99th\npct.,\nms", "gap", 1e-3, 0),
    ("page\nload,\nms", "page", 1e-3, 1),
)
STOP = "stops\nafter\nCtrl-C,\ns"
NOTHING = "-"
# Title, number, decimal places; a panel of the plot for each.
PANELS = (
    ("streams\nopen", lambda f: f.opened, 0),
    ("threads", lambda f: f.threads, 0),
    ("memory per\nstream, KB", lambda f: (f.memory or 0) / 1e3, 0),
    ("CPU to open\none, µs", lambda f: (f.open_cpu or 0) * 1e6, 0),
    ("CPU per\nevent, µs", lambda f: (f.event_cpu or 0) * 1e6, 0),
)
# As readable on white as on black.
GREY = "#777777"
FIRST, OTHERS = "#e8590c", "#8099b0"
COLORED = "text.color", "ytick.color"


def duration(seconds):
    """About how long it is, for somebody who waits."""
    if seconds < 90:
        return f"{round(seconds, -1):.0f} seconds"
    return f"{math.ceil(seconds / 60)} minutes"


def heading(f):
    """How many streams were asked for, and how often each had an event."""
    if f.tick == 1:
        return f"{f.streams:,} streams at the post's pace: an event a second in each"
    busy = "busy " if f.busy else ""
    return (
        f"{f.streams:,} {busy}streams: {1 / f.tick:g} events a second in each, "
        f"{f.streams / f.tick:,.0f} in all"
    )


def table(figures):
    """The figures of all contestants under the same load: a row for each."""
    look = {"box": SIMPLE_HEAD, "padding": 0, "pad_edge": False, "show_edge": False}
    result = Table(title=heading(figures[0]), title_justify="left", **look)
    result.add_column(no_wrap=True)
    costs = [cost for cost in COSTS if any(getattr(f, cost[1]) for f in figures)]
    for title in (*COUNTS, *(cost[0] for cost in costs), STOP):
        result.add_column(title, justify="right")
    for f in figures:
        result.add_row(f.contestant, *cells(f, costs))
    return result


def cells(f, costs):
    counts = (f"{count:,}" for count in (f.opened, f.on_time, f.threads))
    numbers = (number(getattr(f, name), *form) for _, name, *form in costs)
    never = "no" if f.opened else NOTHING
    return *counts, *numbers, f"{f.stop:.1f}" if f.stop else never


def number(value, unit, places):
    """The value in its unit; a dash for none, and for less than can be measured."""
    return f"{value / unit:,.{places}f}" if (value or 0) > 0 else NOTHING


def plot(figures, path):
    """Draw what the most streams cost, but not the busy ones, into an SVG file."""
    figures = [f for f in figures if not f.busy]
    most = max(f.streams for f in figures)
    figures = [f for f in figures if f.streams == most]
    with rc_context({"svg.fonttype": "none", **dict.fromkeys(COLORED, GREY)}):
        size = (8.5, 1.2 + 0.3 * len(figures))
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(heading(figures[0]), fontsize="large")
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, panel in zip(panels, PANELS, strict=True):
            draw(axes, figures, *panel)
        nothing = {"Date": None, "Creator": None}
        figure.savefig(path, format="svg", transparent=True, metadata=nothing)


def draw(axes, figures, title, value, places):
    """A bar for each contestant, with its number; the first one is at the top."""
    names, values = [f.contestant for f in figures], [value(f) for f in figures]
    colors = [FIRST] + [OTHERS] * (len(figures) - 1)
    bars = axes.barh(names, values, height=0.7, color=colors)
    numbers = [number(value, 1, places) for value in values]
    axes.bar_label(bars, numbers, padding=3, fontsize="medium")
    axes.set_title(title, fontsize="medium", loc="left")
    axes.margins(x=0.55)  # room for the numbers
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
