"""README.md cannot drift: what it names exists. `.ci/run` runs the commands in it."""

import re

import pytest

from tests.support.server import KNOBS, ROOT

README = (ROOT / "README.md").read_text()
CLAIMS = (ROOT / "tests" / "demo" / "test_post.py").read_text()


def found(pattern, text=README):
    """What the pattern matches, each once."""
    return sorted(set(re.findall(pattern, text, re.MULTILINE | re.DOTALL)))


@pytest.mark.parametrize(("name", "excerpt"), found(r"```python (\S+)\n(.*?)```"))
def test_excerpt_stands_in_its_file(name, excerpt):
    assert excerpt in (ROOT / name).read_text()


@pytest.mark.parametrize("link", found(r"\]\((?!https:)([^)\s]+)\)"))
def test_link_resolves(link):
    assert (ROOT / link).exists()


def test_every_knob_that_is_named_exists():
    assert set(found(r"\b([A-Z_]{3,})=")) <= KNOBS


def test_claims_have_the_numbers_of_their_tests():
    tests = re.findall(r"^(?:async )?def test_(\d+)", CLAIMS, re.MULTILINE)
    assert list(dict.fromkeys(tests)) == [str(n) for n in range(1, 13)]
    assert set() < set(found(r"^- (\d+): ")) < set(tests)
