"""How `make bench` shows its figures: a table for each number of streams, a plot."""

from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

# Name, attribute, unit in the table; figures that are compared with two contestants.
COSTS = (
    ("memory per stream, KB", "memory", 1e3),
    ("CPU to open one, µs", "open_cpu", 1e-6),
    ("CPU per event, µs", "event_cpu", 1e-6),
)
DURATIONS = (
    ("gap, 99th percentile, ms", "gap", 1e-3),
    ("/ meanwhile, median, ms", "page", 1e-3),
)
RIVALS = ("Django's own", "bare ASGI")
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
    )
]


def table(figures):
    """The figures of all contestants with the same number of streams, side by side."""
    first = figures[0]
    title = f"Streams: {first.streams:,}, each with an event every {first.tick:g} s"
    result = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    result.add_column(no_wrap=True)
    for f in figures:
        result.add_column(f.contestant, justify="right")
    for row in (*counts(figures), *costs(figures), *durations(figures)):
        result.add_row(*row)
    return result


def counts(figures):
    yield "streams open", *(f"{f.opened:,}" for f in figures)
    yield "... with every event", *(f"{f.complete:,}" for f in figures)
    yield "threads", *(f"{f.threads:,}" for f in figures)
    yield "... above the idle server", *(f"{above(f):+,}" for f in figures)


def above(f):
    return f.threads - f.idle_threads


def costs(figures):
    for label, name, unit in COSTS:
        values = {f.contestant: getattr(f, name) for f in figures}
        yield label, *(number(value, unit) for value in values.values())
        for rival in RIVALS:
            ratios = (ratio(value, values[rival]) for value in values.values())
            yield f"... x {rival}", *ratios


def durations(figures):
    for label, name, unit in DURATIONS:
        yield label, *(number(getattr(f, name), unit) for f in figures)


def number(value, unit):
    """The value in its unit; a dash for none, and for less than can be measured."""
    return f"{value / unit:,.1f}" if (value or 0) > 0 else "-"


def ratio(value, base):
    return f"{value / base:.2f}" if min(value or 0, base or 0) > 0 else "-"


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
    for name, style in zip(names, STYLES, strict=True):
        mine = [f for f in figures if f.contestant == name]
        x, y = [f.streams for f in mine], [value(f) for f in mine]
        # The first contestant lies on top where the lines meet.
        axes.loglog(x, y, label=name, zorder=9 - len(axes.lines), **style)
    axes.set(title=title, xlabel="streams asked for")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,g}")
    axes.grid(alpha=0.3)
    axes.spines[:].set_color(GREY)
