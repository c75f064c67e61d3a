"""What sentry-sdk sees of a page and of a stream: the same under both handlers."""

import json
import subprocess
import sys

import pytest

from tests.support.server import ROOT, clean_environment


@pytest.fixture(scope="module")
def recorded():
    """What sentry-sdk has recorded, by handler and view."""
    return {name: run(name) for name in ("django.core.handlers.asgi", "handlers")}


def run(module):
    program = [sys.executable, "-m", "tests.modules.tracked", module]
    environment = clean_environment()
    options = {"capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run(program, cwd=ROOT, env=environment, check=True, **options)
    return json.loads(done.stdout)


def records(recorded, view):
    """The records of a view, the same under both handlers."""
    django, ours = (views[view]["records"] for views in recorded.values())
    assert ours == django
    return ours


@pytest.mark.parametrize("view", ["page", "stream"])
def test_success_is_ok_and_lasts(recorded, view):
    (transaction,) = records(recorded, view)
    assert (transaction["status"], transaction["lasted"]) == ("ok", True)


@pytest.mark.parametrize(
    ("view", "message", "user"),
    [
        ("failing_page", "ValueError: in the page", None),
        ("failing_stream", "ValueError: in the generator", {"id": "7"}),
    ],
)
def test_error_keeps_request_user_and_tags(recorded, view, message, user):
    error, transaction = records(recorded, view)
    assert error["error"] == message
    assert error["url"] == "http://localhost/"
    assert error["user"] == user
    assert error["tags"]["tenant"] == "blue"
    assert transaction["status"] == "internal_error"


def test_stream_still_holds_no_thread(recorded):
    """Though sentry-sdk wraps the receivers of Django's signals."""
    held = [views["stream"]["body"].count("Executor") for views in recorded.values()]
    assert held == [1, 0]
