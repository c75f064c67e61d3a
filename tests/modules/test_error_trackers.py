"""What sentry-sdk sees of a stream and of errors: the same under both handlers."""

import json
import subprocess
import sys

import pytest

from tests.support.server import ROOT


@pytest.fixture(scope="module")
def recorded():
    """What sentry-sdk has recorded, by handler and view."""
    return [run(module) for module in ("django.core.handlers.asgi", "handlers")]


def run(module):
    program = [sys.executable, "-m", "tests.modules.tracked", module]
    done = subprocess.run(program, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("view", "status", "messages"),
    [
        ("stream", "ok", []),
        ("failing_page", "internal_error", ["ValueError: in the page"]),
        ("failing_stream", "internal_error", ["ValueError: in the generator"]),
    ],
)
def test_records_are_the_same(recorded, view, status, messages):
    django, ours = (views[view]["records"] for views in recorded)
    assert ours == django
    *errors, transaction = ours
    assert transaction["status"] == status
    assert [error["error"] for error in errors] == messages
    for error in errors:
        assert (error["user"], error["tags"]["tenant"]) == ({"id": "7"}, "blue")


def test_stream_still_holds_no_thread(recorded):
    """Though sentry-sdk wraps the receivers of Django's signals."""
    bodies = [views["stream"]["body"] for views in recorded]
    assert ["Executor" in body for body in bodies] == [True, False]
