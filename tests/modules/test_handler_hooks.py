"""Django's hooks, overridden in a subclass, do the same under both handlers."""

import asyncio
import io
import threading
import warnings

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.signals import request_finished
from django.http import HttpResponse
from django.urls import get_script_prefix

import handlers
from responses import AsyncStreamingHttpResponse
from tests.support.in_process import (
    ROOM,
    get,
    leave,
    numbers,
    open_stream,
    outcome,
    page_view,
    send_request,
    serve,
    streaming,
    waiting,
    waiting_view,
)


def sync_view(request):
    return HttpResponse(request.body.decode() or "123")


HOOKS = ["__call__", "handle", "read_body", "run_get_response", "send_response"]


VIEWS = [streaming(numbers), streaming(numbers, AsyncStreamingHttpResponse), sync_view]


@pytest.mark.parametrize("view", VIEWS)
async def test_async_hooks_are_awaited(handler_class, view):
    calls = []

    def override(hook):
        async def override(self, *args):
            calls.append(f"before {hook}")
            result = await getattr(super(Handler, self), hook)(*args)
            calls.append(f"after {hook}")
            return result

        return override

    Handler = type(
        "Handler", (handler_class,), {hook: override(hook) for hook in HOOKS}
    )
    assert await get(serve(Handler, view)) == (200, "123")
    around = ("before __call__", "before handle", "after handle", "after __call__")
    inside = [f"{when} {hook}" for hook in HOOKS[2:] for when in ("before", "after")]
    assert calls == [*around[:2], *inside, *around[2:]]


async def test_handle_may_be_called_by_a_call_of_ones_own(handler_class):
    class Handler(handler_class):
        async def __call__(self, scope, receive, send):
            await self.handle(scope, receive, send)

    view = streaming(numbers, AsyncStreamingHttpResponse)
    assert await get(serve(Handler, view)) == (200, "123")


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


@pytest.mark.parametrize("where", ["class", "instance"])
async def test_body_with_an_own_close_is_closed_outside_the_event_loop(
    handler_class, where
):
    closed_in = []

    def close(body):
        closed_in.append(threading.current_thread())
        io.BytesIO.close(body)

    class Handler(handler_class):
        async def read_body(self, receive):
            (await super().read_body(receive)).close()
            if where == "class":
                return type("Body", (io.BytesIO,), {"close": close})()
            body = io.BytesIO()
            body.close = lambda: close(body)
            return body

    assert await get(serve(Handler, page_view)) == (200, "123")
    assert closed_in[0] != threading.current_thread()


async def test_error_response_of_create_request(handler_class):
    """It is sent, and the body is closed before that."""
    bodies, closed = [], []

    class Handler(handler_class):
        def create_request(self, scope, body_file):
            bodies.append(body_file)
            return None, HttpResponse("no", status=418)

        async def send_response(self, response, send):
            closed.append(bodies[0].closed)
            await super().send_response(response, send)

    assert await get(serve(Handler, sync_view)) == (418, "no")
    assert closed == [True]


async def test_request_without_a_body_file(handler_class):
    class Handler(handler_class):
        def create_request(self, scope, body_file):
            request, _ = super().create_request(scope, body_file)
            del request._stream
            request.close = lambda: None
            return request, None

    assert await get(serve(Handler, page_view)) == (200, "123")


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_cancel_precedes_an_error_of_create_request(handler_class, error):
    class Handler(handler_class):
        def create_request(self, scope, body_file):
            asyncio.current_task().cancel("by the server")
            raise error("on purpose")

    request = await send_request(serve(Handler, sync_view))
    with pytest.raises(asyncio.CancelledError, match="by the server"):
        await outcome(request)


async def test_send_may_be_called_from_sync_code(handler_class):
    class Handler(handler_class):
        async def send_response(self, response, send):
            await sync_to_async(self.send_page)(send)

        def send_page(self, send):
            async_to_sync(send)({"type": "http.response.start", "status": 203})
            async_to_sync(send)({"type": "http.response.body", "body": b"page"})

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await get(serve(Handler, page_view)) == (203, "page")


async def test_unexpected_message_is_an_error(handler_class):
    request = await send_request(serve(handler_class, waiting_view))
    await request.send_input({"type": "http.request"})
    with pytest.raises(AssertionError, match="Invalid ASGI message"):
        await request.wait(ROOM)


async def test_two_errors_at_once_are_a_group():
    """As under Django 6.1; Django 5.2 raises one of them."""
    begun = asyncio.Event()

    class Handler(handlers.ASGIHandler):
        async def listen_for_disconnect(self, receive):
            await begun.wait()
            raise OSError("while listening")

    async def failing():
        try:
            yield "tick"
            begun.set()
            await asyncio.Event().wait()
        finally:
            raise ValueError("while closing")

    stream = await open_stream(serve(Handler, streaming(failing)))
    with pytest.raises(ExceptionGroup) as raised:
        await stream.wait(ROOM)
    assert {type(error) for error in raised.value.exceptions} == {OSError, ValueError}


async def test_script_prefix(handler_class):
    async def view(request):
        return HttpResponse(get_script_prefix())

    async def mounted(scope, receive, send):
        scope |= {"root_path": "/mounted", "path": "/mounted/"}
        await serve(handler_class, view)(scope, receive, send)

    assert await get(mounted) == (200, "/mounted/")


async def failing():
    yield "1"
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise ValueError("on purpose") from error


async def test_error_in_a_generator_keeps_its_cause(handler_class):
    request = await send_request(serve(handler_class, streaming(failing)))
    with pytest.raises(ValueError, match="on purpose") as raised:
        await request.wait(ROOM)
    assert isinstance(raised.value.__cause__, KeyError)


async def cancelled_view(request):
    raise asyncio.CancelledError("on purpose")


def failing_receiver(**kwargs):
    raise ExceptionGroup("in the receiver", [KeyError()])


@pytest.mark.parametrize("view", [page_view, waiting_view])
async def test_error_of_a_receiver_is_raised_once(
    handler_class, connect, signals, view
):
    connect(request_finished, failing_receiver)
    request = await send_request(serve(handler_class, view))
    if view is waiting_view:
        await request.send_input({"type": "http.disconnect"})
    with pytest.raises(ExceptionGroup, match="in the receiver"):
        await outcome(request)
    assert signals == ["started", "finished"]


@pytest.mark.parametrize("view", [streaming(failing), cancelled_view])
async def test_error_of_a_receiver_does_not_replace_the_first(view, connect):
    """Django sends no request_finished then."""

    connect(request_finished, failing_receiver)
    request = await send_request(serve(handlers.ASGIHandler, view))
    with pytest.raises((ValueError, asyncio.CancelledError), match="on purpose"):
        await outcome(request)
