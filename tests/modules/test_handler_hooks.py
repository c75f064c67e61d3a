"""Django's hooks, overridden in a subclass, do the same under both handlers."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers import asgi
from django.core.signals import request_finished
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import get_script_prefix
from in_process import get, leave, open_request, open_stream, serve

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


VIEWS = [stream_view, our_stream_view, page_view, sync_view]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "hook", ["__call__", "handle", "read_body", "run_get_response", "send_response"]
)
async def test_async_hook_is_awaited(handler_class, hook, view):
    calls = []

    async def override(self, *args):
        calls.append("before")
        result = await getattr(super(Handler, self), hook)(*args)
        calls.append("after")
        return result

    Handler = type("Handler", (handler_class,), {hook: override})
    assert await get(serve(Handler, view)) == (200, "123")
    assert calls == ["before", "after"]


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

    async def endless():
        while True:
            yield "tick"
            await sync_to_async(calls.count)("heard")

    async def view(request):
        return StreamingHttpResponse(endless())

    await leave(await open_stream(serve(Handler, view)))
    assert calls == ["heard"]


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


async def test_create_request_without_super(handler_class):
    class Handler(handler_class):
        def create_request(self, scope, body_file):
            return self.request_class(scope, body_file), None

    assert await get(serve(Handler, sync_view)) == (200, "123")


async def test_error_response_of_create_request(handler_class):
    class Handler(handler_class):
        def create_request(self, scope, body_file):
            return None, HttpResponse("no", status=418)

    assert await get(serve(Handler, sync_view)) == (418, "no")


async def test_error_of_receive_is_raised(handler_class):
    handler = serve(handler_class, never)

    async def broken(scope, receive, send):
        messages = iter([{"type": "http.request"}])

        async def receive():
            for message in messages:
                return message
            raise OSError("the socket is gone")

        await handler(scope, receive, send)

    communicator = ApplicationCommunicator(broken, open_request(handler).scope)
    with pytest.raises(OSError, match="the socket is gone"):
        await communicator.wait(5)


async def never(request):
    await asyncio.sleep(60)


async def test_unexpected_message_is_an_error(handler_class):
    communicator = open_request(serve(handler_class, never))
    await communicator.send_input({"type": "http.request"})
    await communicator.send_input({"type": "http.request"})
    with pytest.raises(AssertionError, match="Invalid ASGI message"):
        await communicator.wait(5)


async def test_two_errors_at_once_are_a_group():
    """As under Django 6.1; Django 5.2 raises one of them."""

    class Handler(handlers.ASGIHandler):
        async def listen_for_disconnect(self, receive):
            await asyncio.sleep(0.05)
            raise OSError("while listening")

    async def failing():
        try:
            yield "tick"
            await asyncio.sleep(60)
        finally:
            raise ValueError("while closing")

    async def view(request):
        return StreamingHttpResponse(failing())

    stream = await open_stream(serve(Handler, view))
    with pytest.raises(ExceptionGroup) as raised:
        await stream.wait(5)
    assert {type(error) for error in raised.value.exceptions} == {OSError, ValueError}


async def test_body_is_closed_when_the_request_cannot_be_built(handler_class):
    bodies = []

    class Handler(handler_class):
        def create_request(self, scope, body_file):
            bodies.append(body_file)
            return None, HttpResponse("no", status=418)

    assert await get(serve(Handler, page_view)) == (418, "no")
    assert [body.closed for body in bodies] == [True]


async def test_script_prefix(handler_class):
    async def view(request):
        return HttpResponse(get_script_prefix())

    async def mounted(scope, receive, send):
        scope |= {"root_path": "/mounted", "path": "/mounted/"}
        await serve(handler_class, view)(scope, receive, send)

    assert await get(mounted) == (200, "/mounted/")


async def test_error_in_a_generator_keeps_its_cause(handler_class):
    async def failing():
        yield "1"
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    async def view(request):
        return StreamingHttpResponse(failing())

    communicator = open_request(serve(handler_class, view))
    await communicator.send_input({"type": "http.request"})
    with pytest.raises(ValueError, match="outer") as raised:
        await communicator.wait(5)
    assert isinstance(raised.value.__cause__, KeyError)


async def test_error_of_a_receiver_does_not_hide_that_of_the_generator(handler_class):
    def receiver(**kwargs):
        raise KeyError("in the receiver")

    async def failing():
        yield "1"
        raise ValueError("in the generator")

    async def view(request):
        return StreamingHttpResponse(failing())

    request_finished.connect(receiver)
    try:
        communicator = open_request(serve(handler_class, view))
        await communicator.send_input({"type": "http.request"})
        with pytest.raises(ValueError, match="in the generator"):
            await communicator.wait(5)
    finally:
        request_finished.disconnect(receiver)
