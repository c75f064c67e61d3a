"""How `make bench` shows its figures: a table for each number of streams, a plot."""

import math

from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

# The rows after the counts: label, attribute, unit, decimal places.
COSTS = (
    ("memory per stream, KB", "memory", 1e3, 1),
    ("CPU to open one, µs", "open_cpu", 1e-6, 0),
    ("CPU per event, µs", "event_cpu", 1e-6, 0),
    ("gap, 99th percentile, ms", "gap", 1e-3, 0),
    ("page load meanwhile, ms", "page", 1e-3, 1),
)
NOTHING = "-"
GREY = "#777777"  # as readable on white as on black
COLORED = "text.color", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"
STYLES = [
    {"color": color, "marker": marker, "linestyle": line}
    for color, marker, line in (
        ("#d9480f", "o", "-"),
        ("#1c7ed6", "s", "-"),
        ("#2f9e44", "^", "--"),
        (GREY, "D", ":"),
        ("#ae3ec9", "v", "--"),
        ("#b08900", "P", ":"),
        ("#0c8599", "X", "--"),
    )
]


def duration(seconds):
    """About how long it is, for somebody who waits."""
    if seconds < 90:
        return f"{round(seconds, -1):.0f} seconds"
    return f"{math.ceil(seconds / 60)} minutes"


def heading(plan):
    """What is measured: how many streams, and how often each has an event."""
    if plan.tick >= 1:
        return f"{plan.streams:,} streams, an event every {plan.tick:g} s in each"
    return (
        f"{plan.streams:,} streams, {1 / plan.tick:g} events a second in each "
        f"({plan.streams / plan.tick:,.0f} in all)"
    )


def table(figures):
    """The figures of all contestants under the same load, side by side."""
    title = heading(figures[0])
    look = {"box": SIMPLE_HEAD, "padding": (0, 0, 0, 1), "pad_edge": False}
    result = Table(title=title, title_justify="left", **look)
    result.add_column(no_wrap=True)
    for f in figures:
        result.add_column(f.contestant, justify="right")
    for row in (*counts(figures), *costs(figures), stops(figures)):
        result.add_row(*row)
    return result


def counts(figures):
    yield "streams open", *(f"{f.opened:,}" for f in figures)
    yield "... and complete", *(f"{f.complete:,}" for f in figures)
    yield "threads", *(f"{f.threads:,}" for f in figures)
    yield "... above the idle server", *(f"{above(f):+,}" for f in figures)


def above(f):
    return f.threads - f.idle_threads


def costs(figures):
    for label, name, *form in COSTS:
        numbers = [number(getattr(f, name), *form) for f in figures]
        if set(numbers) != {NOTHING}:
            yield label, *numbers


def number(value, unit, places):
    """The value in its unit; a dash for none, and for less than can be measured."""
    return f"{value / unit:,.{places}f}" if (value or 0) > 0 else NOTHING


def stops(figures):
    seconds = (f"{f.stop:.1f}" if f.stop else "no" for f in figures)
    return "stops after Ctrl-C, s", *seconds


def plot(figures, path):
    """Draw threads and memory against the number of streams into an SVG file."""
    colors = dict.fromkeys(COLORED, GREY)
    with rc_context({"svg.fonttype": "none", **colors}):
        figure = Figure(figsize=(9, 4.5), layout="constrained")
        threads, memory = figure.subplots(1, 2)
        draw(threads, figures, "threads of the server", lambda f: f.threads)
        draw(memory, figures, "memory of the open streams, MB", megabytes)
        figure.legend(
            *threads.get_legend_handles_labels(),
            loc="outside lower center",
            ncols=3,
            frameon=False,
        )
        nothing = {"Date": None, "Creator": None}
        figure.savefig(path, format="svg", transparent=True, metadata=nothing)


def megabytes(f):
    """What all open streams take together; a logarithm has no place for less than 0."""
    return max(f.opened * (f.memory or 0) / 1e6, 0) or float("nan")


def draw(axes, figures, title, value):
    """One line for each contestant, both axes logarithmic."""
    names = dict.fromkeys(f.contestant for f in figures)
    for name, style in zip(names, STYLES, strict=False):
        mine = [f for f in figures if f.contestant == name]
        x, y = [f.streams for f in mine], [value(f) for f in mine]
        # The first contestant lies on top where the lines meet.
        axes.loglog(x, y, label=name, zorder=9 - len(axes.lines), **style)
    axes.set(title=title, xlabel="streams asked for")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,g}")
    axes.grid(alpha=0.3)
    axes.spines[:].set_color(GREY)
