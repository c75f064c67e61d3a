"""What the modules use and nobody promises: which of it a new version has dropped."""

from inspect import getsource

import pytest
from asgiref.sync import AsyncToSync, SyncToAsync
from django.core.handlers.asgi import ASGIRequest
from django.db.backends.base.base import BaseDatabaseWrapper
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
        (HttpResponseBase, "_handler_class"),
        (HttpResponseBase, "_charset"),
        (StreamingHttpResponse, "_iterator"),
        (StreamingHttpResponse, "_set_streaming_content"),
        (ASGIRequest, "_stream"),
        (ASGIRequest, "_files"),
        (BaseDatabaseWrapper, "autocommit"),
    ],
)
def test_name_is_still_there(owner, name):
    assert f" {name}" in getsource(owner) or f"self.{name}" in getsource(owner)


def test_key_of_a_receiver_begins_with_its_id():
    def receiver(**kwargs):
        pass

    signal = Signal()
    signal.connect(receiver)
    ((key, *_),) = signal.receivers
    assert key[0] == id(receiver)
