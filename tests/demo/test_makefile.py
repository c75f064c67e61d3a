"""The Makefile: its help, and the .venv that it makes, keeps or makes anew."""

import re
import subprocess
import sys

import pytest

from tests.support.server import ROOT, run_make

ANEW = "does not fit any more and is made anew"


def test_help_names_every_target():
    _, text, _ = run_make("help")
    phony = re.search(r"^\.PHONY: (.*) stale$", (ROOT / "Makefile").read_text(), re.M)
    assert re.findall(r"^  make (\S+) ", text, re.MULTILINE) == phony[1].split()


@pytest.fixture
def venv(tmp_path):
    """A virtual environment that make takes for its own, with a space in its path."""
    venv = tmp_path / "a folder" / "venv"
    options = ["--without-pip", "--symlinks"]
    subprocess.run([sys.executable, "-m", "venv", *options, venv], check=True)
    (venv / "bin" / "pip").write_text(f"#!/bin/sh\nexec '{venv}/bin/python3' ...\n")
    (venv / ".demo").touch()
    return venv


def plan(venv):
    """What make would do, called in the folder where the .venv is."""
    command = ["make", "--dry-run", "--makefile", ROOT / "Makefile", "VENV=venv"]
    command += ["--assume-old", "requirements.txt", "run-asgi"]
    done = subprocess.run(command, cwd=venv.parent, capture_output=True, text=True)
    return done.stdout


def test_venv_that_fits_is_kept(venv):
    assert ANEW not in plan(venv)
    assert "Installing" not in plan(venv)


def test_venv_of_another_folder_is_made_anew(venv):
    assert ANEW in plan(venv.parent.rename(venv.parent.with_name("renamed")) / "venv")


@pytest.mark.parametrize("python", ["/nowhere/python3", "/bin/false"])
def test_venv_whose_python_is_gone_or_too_old_is_made_anew(venv, python):
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(python)
    assert ANEW in plan(venv)


PYTHONS = [
    ("echo Python 3.9.2; exit 1", "Python 3.9.2: Python 3.11 or later is needed: "),
    ('case "$*" in *ensurepip*) exit 1; esac', "has no ensurepip or no venv: apt "),
]


@pytest.mark.parametrize(("script", "message"), PYTHONS)
def test_python_that_will_not_do(tmp_path, script, message):
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    status, _, errors = run_make("run-asgi", f"PYTHON={python}", venv=tmp_path / "venv")
    assert status != 0
    assert (len(errors), message in errors[0]) == (1, True)


def test_python_that_this_user_may_not_run(tmp_path):
    python = tmp_path / "python3"
    python.touch()
    _, _, errors = run_make("run-asgi", f"PYTHON={python}", venv=tmp_path / "venv")
    assert len(errors) == 1
    assert "ermission denied: Python 3.11 or later is needed: " in errors[0]
