"""README.md cannot drift: what it names exists. `.ci/run` runs the commands in it."""

import json
import re

import pytest

from tests.programs.bench_report import COLUMNS, number
from tests.support.knobs import KNOBS
from tests.support.server import ROOT

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
CLAIMS = (ROOT / "tests" / "demo" / "test_post.py").read_text()
# Besides the knobs: gunicorn's own, and what make takes for itself.
OTHERS = {"GUNICORN_CMD_ARGS", "PYTHON", "VENV"}


def found(pattern, text=README):
    """What the pattern matches, each once."""
    return sorted(set(re.findall(pattern, text, re.MULTILINE | re.DOTALL)))


@pytest.mark.parametrize(("name", "excerpt"), found(r"```python (\S+)\n(.*?)```"))
def test_excerpt_stands_in_its_file(name, excerpt):
    assert excerpt in (ROOT / name).read_text()


@pytest.mark.parametrize("code", found(r"```python\n(.*?)```"))
def test_example_can_be_pasted(code):
    compile(code, "README.md", "exec")


@pytest.mark.parametrize("link", found(r"\]\((?!https:)([^)\s]+)\)"))
def test_link_resolves(link):
    assert (ROOT / link).exists()


def test_claims_have_the_numbers_of_their_tests():
    tests = re.findall(r"^(?:async )?def test_(\d+)", CLAIMS, re.M)
    claims = re.findall(r"^(\d+) \| .* \| ", README, re.MULTILINE)
    assert claims == list(dict.fromkeys(tests)) == [str(n) for n in range(1, 12)]


@pytest.mark.parametrize("target", found(r"(?:`|^)(?:[A-Z_]+=\S+ )*make ([a-z-]+)"))
def test_target_exists(target):
    assert re.search(rf"^{target}:.* ## ", MAKEFILE, re.MULTILINE)


def test_every_knob_that_is_named_exists_and_make_help_names_them_all():
    shown = " ".join(re.findall("## (.*)", MAKEFILE))
    assert set(found(r"\b([A-Z_]{3,})=")) - OTHERS <= set(KNOBS)
    assert set(found(r"\b([A-Z]{3,})\b", shown)) >= set(KNOBS) - OTHERS


def test_figures_are_those_that_were_measured():
    measured = json.loads((ROOT / "tests" / "pictures" / "bench.json").read_text())
    python, django = (v.rpartition(".")[0] for v in measured["versions"][:2])
    prose = " ".join(README.split())
    assert f"{python}, {django.title()}" in prose
    for f in measured["figures"]:
        row = [number(f[name], *form) for _, name, *form in COLUMNS]
        if f["streams"] == 1000:
            assert "|".join([f["contestant"], *row]) in README.splitlines()
        elif f["contestant"] == "gunicorn threads":
            assert f"Of 5,000 streams, threads served {row[0]} on time." in prose
