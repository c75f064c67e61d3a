"""Django's hooks, overridden in a subclass, do the same under both handlers."""

import asyncio
import io
import threading
import warnings

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.handlers import asgi
from django.core.signals import request_finished
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import get_script_prefix
from in_process import ROOM, get, leave, open_stream, outcome, send_request, serve

import handlers
from responses import AsyncStreamingHttpResponse


async def numbers():
    for number in "123":
        yield number


async def stream_view(request):
    return StreamingHttpResponse(numbers())


async def our_stream_view(request):
    return AsyncStreamingHttpResponse(numbers())


async def page_view(request):
    return HttpResponse("123")


def sync_view(request):
    return HttpResponse(request.body.decode() or "123")


HOOKS = ["__call__", "handle", "read_body", "run_get_response", "send_response"]


@pytest.mark.parametrize("view", [stream_view, our_stream_view, sync_view])
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


async def test_call_that_is_replaced(handler_class, monkeypatch):
    """As error trackers and tracers do it, on Django's own class."""
    calls = []
    original = asgi.ASGIHandler.__call__

    async def replaced(self, scope, receive, send):
        calls.append("before")
        await original(self, scope, receive, send)
        calls.append("after")

    monkeypatch.setattr(asgi.ASGIHandler, "__call__", replaced)
    assert await get(serve(handler_class, stream_view)) == (200, "123")
    assert calls == ["before", "after"]


async def test_listen_for_disconnect_is_awaited(handler_class):
    calls = []

    class Handler(handler_class):
        async def listen_for_disconnect(self, receive):
            try:
                await super().listen_for_disconnect(receive)
            finally:
                calls.append("heard")

    async def view(request):
        return StreamingHttpResponse(waiting())

    await leave(await open_stream(serve(Handler, view)))
    assert calls == ["heard"]


async def waiting():
    yield "tick"
    await asyncio.Event().wait()


async def test_receive_of_middleware_may_call_sync_code(handler_class):
    chunks = []

    async def middleware(scope, receive, send):
        async def recording():
            message = await receive()
            await sync_to_async(chunks.append)(message.get("body"))
            return message

        await serve(handler_class, sync_view)(scope, recording, send)

    assert await get(middleware, method="POST", body=b"body") == (200, "body")
    assert chunks[0] == b"body"


async def test_read_body_may_call_sync_code(handler_class):
    class Handler(handler_class):
        async def read_body(self, receive):
            body_file = await super().read_body(receive)
            await sync_to_async(body_file.seek)(0, 2)
            await sync_to_async(body_file.write)(b", and more")
            await sync_to_async(body_file.seek)(0)
            return body_file

    handler = serve(Handler, sync_view)
    assert await get(handler, method="POST", body=b"body") == (200, "body, and more")


async def test_body_with_an_own_close_is_closed_outside_the_event_loop(handler_class):
    closed_in = []

    class Body(io.BytesIO):
        def close(self):
            closed_in.append(threading.current_thread())
            super().close()

    class Handler(handler_class):
        async def read_body(self, receive):
            (await super().read_body(receive)).close()
            return Body()

    assert await get(serve(Handler, page_view)) == (200, "123")
    assert closed_in[0] != threading.current_thread()


async def test_create_request_without_super(handler_class):
    class Handler(handler_class):
        def create_request(self, scope, body_file):
            return self.request_class(scope, body_file), None

    assert await get(serve(Handler, sync_view)) == (200, "123")


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


async def never(request):
    await asyncio.Event().wait()


async def test_error_of_receive_is_raised(handler_class):
    async def broken(scope, receive, send):
        messages = iter([{"type": "http.request"}])

        async def receive_once():
            for message in messages:
                return message
            raise OSError("the socket is gone")

        await serve(handler_class, never)(scope, receive_once, send)

    request = await send_request(broken)
    with pytest.raises(OSError, match="the socket is gone"):
        await request.wait(ROOM)


async def test_unexpected_message_is_an_error(handler_class):
    request = await send_request(serve(handler_class, never))
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

    async def view(request):
        return StreamingHttpResponse(failing())

    stream = await open_stream(serve(Handler, view))
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


async def failing_stream_view(request):
    async def failing():
        yield "1"
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("on purpose") from error

    return StreamingHttpResponse(failing())


async def test_error_in_a_generator_keeps_its_cause(handler_class):
    request = await send_request(serve(handler_class, failing_stream_view))
    with pytest.raises(ValueError, match="on purpose") as raised:
        await request.wait(ROOM)
    assert isinstance(raised.value.__cause__, KeyError)


async def cancelled_view(request):
    raise asyncio.CancelledError("on purpose")


@pytest.mark.parametrize("view", [failing_stream_view, cancelled_view])
async def test_error_of_a_receiver_does_not_replace_the_first(view, connect):
    """Django sends no request_finished then."""

    def receiver(**kwargs):
        raise KeyError("in the receiver")

    connect(request_finished, receiver)
    request = await send_request(serve(handlers.ASGIHandler, view))
    with pytest.raises((ValueError, asyncio.CancelledError), match="on purpose"):
        await outcome(request)
