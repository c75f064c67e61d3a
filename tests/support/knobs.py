"""The knobs of the project's commands: what each may be, written once.

Make hands its variables down in the environment, whether they are typed before `make`
or behind it. An option does the same for a program that is started by hand: --tabs 3.
"""

import argparse
import math
import os
import re
from pathlib import Path

# All that there are, and their defaults. A command refuses those it has no use for.
KNOBS = {
    "COUNT": "100",
    "TICK": "1",
    "DEBUG": "",
    "HOST": "127.0.0.1",
    "PORT": "",
    "WORKERS": "1",
    "GUNICORN": "",
    "GUNICORN_CMD_ARGS": "",  # gunicorn's own
    "TABS": "3",
    "SECONDS": "",
    "FAST": "",
    "STREAMS": "1000,5000",
    "SVG": "",
    "PNG": "",
    "JSON": "",
}


class Knobs(argparse.ArgumentParser):
    """The knobs of one command; a wrong one ends the program with one line."""

    def __init__(self, command):
        super().__init__(prog=f"make {command}", allow_abbrev=False)

    def add(self, name, kind=str, default=None):
        """Add a knob. kind: turns its text into a value, or raises ValueError."""

        def checked(text):
            try:
                return kind(text)
            except ValueError as error:
                raise argparse.ArgumentTypeError(f"{name}={text}: {error}") from None

        given = os.environ.get(name, KNOBS[name]) or default or ""
        self.add_argument(f"--{name.lower()}", type=checked, default=given)

    def read(self, arguments=None):
        """Return the values as a namespace; a knob that is not used here is wrong.

        arguments: in place of the command line's.
        """
        values = self.parse_args(arguments)
        for name, default in KNOBS.items():
            text = os.environ.get(name) or default
            if text != default and name.lower() not in values:
                self.error(f"{name}={text}: {self.prog} has no use for {name}")
        return values

    def error(self, message):
        self.exit(2, re.sub(r"^argument \S+ ", "", message) + "\n")


def whole(least, most=10**9):
    """The kind of a whole number within bounds."""
    bounds = f">= {least}" if most == 10**9 else f"from {least} to {most}"

    def kind(text):
        if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number {bounds}")
        return int(text)

    return kind


def number(least, most=math.inf):
    """The kind of a finite number within bounds."""
    bounds = f">= {least}" if most == math.inf else f"from {least} to {most}"

    def kind(text):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and math.isfinite(value)):
            raise ValueError(f"must be a number {bounds}")
        return value

    return kind


def switch(text):
    """The kind of a knob that is on or off."""
    if text not in ("", "0", "1"):
        raise ValueError("must be 1, or 0 for off")
    return text == "1"


def file(text):
    """The kind of a file that can be written; None for none."""
    path = Path(text).expanduser() if text else None
    if path and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise ValueError("must be a file in a writable folder")
    return path
