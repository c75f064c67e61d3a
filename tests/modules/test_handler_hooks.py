"""Django's hooks, overridden in a subclass, do the same under both handlers."""

import pytest
from django.http import HttpResponse
from django.urls import get_script_prefix

from responses import AsyncStreamingHttpResponse
from tests.support.in_process import (
    get,
    leave,
    numbers,
    open_stream,
    page_view,
    serve,
    streaming,
    waiting,
)

HOOKS = ["__call__", "handle", "read_body", "run_get_response", "send_response"]


@pytest.mark.parametrize(
    "view", [page_view, streaming(numbers, AsyncStreamingHttpResponse)]
)
async def test_async_hooks_are_awaited(handler_class, view):
    calls = []

    def override(hook):
        async def override(self, *args):
            calls.append(f"before {hook}")
            result = await getattr(super(Handler, self), hook)(*args)
            calls.append(f"after {hook}")
            return result

        return override

    Handler = type("Handler", (handler_class,), {h: override(h) for h in HOOKS})
    assert await get(serve(Handler, view)) == (200, "123")
    around = ("before __call__", "before handle", "after handle", "after __call__")
    inside = [f"{when} {hook}" for hook in HOOKS[2:] for when in ("before", "after")]
    assert calls == [*around[:2], *inside, *around[2:]]


async def test_listen_for_disconnect_is_awaited(handler_class):
    calls = []

    class Handler(handler_class):
        async def listen_for_disconnect(self, receive):
            try:
                await super().listen_for_disconnect(receive)
            finally:
                calls.append("heard")

    await leave(await open_stream(serve(Handler, streaming(waiting))))
    assert calls == ["heard"]


async def test_error_response_of_create_request_is_sent(handler_class, signals):
    class Handler(handler_class):
        def create_request(self, scope, body_file):
            return None, HttpResponse("no", status=418)

    assert await get(serve(Handler, page_view)) == (418, "no")
    assert signals == ["started", "finished"]


async def test_script_prefix(handler_class):
    async def view(request):
        return HttpResponse(get_script_prefix())

    async def mounted(scope, receive, send):
        scope = scope | {"root_path": "/mounted", "path": "/mounted/"}
        await serve(handler_class, view)(scope, receive, send)

    assert await get(mounted) == (200, "/mounted/")
