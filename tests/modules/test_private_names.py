"""What the modules use and nobody promises: which of it a new version has dropped."""

from inspect import getsource

import pytest
from asgiref.sync import AsyncToSync, SyncToAsync
from django.dispatch import Signal
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase


@pytest.fixture(scope="session", autouse=True)
def counted_connections():
    """None: it imports handlers.py, which needs these names."""


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (AsyncToSync, "executors"),
        (SyncToAsync, "thread_sensitive_context"),
        (SyncToAsync, "context_to_thread_executor"),
        (HttpResponseBase, "_resource_closers"),
        (StreamingHttpResponse, "_iterator"),
    ],
)
def test_name_is_still_there(owner, name):
    assert f" {name}" in getsource(owner) or f"self.{name}" in getsource(owner)


def test_key_of_a_receiver_begins_with_its_id():
    signal = Signal()
    signal.connect(getsource)
    ((key, *_),) = signal.receivers
    assert key[0] == id(getsource)
