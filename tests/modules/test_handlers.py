"""handlers.ASGIHandler beside Django's: the same in all but the threads."""

import asyncio
from contextvars import ContextVar

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.signals import request_finished, request_started
from django.db import connections
from django.http import StreamingHttpResponse

from handlers import ASGIHandler
from responses import AsyncStreamingHttpResponse
from tests.support.in_process import (
    SCOPE,
    get,
    leave,
    numbers,
    open_stream,
    outcome,
    page_view,
    send_request,
    serve,
    streaming,
    until,
    waiting,
    waiting_view,
)

language = ContextVar("language")


async def failing_view(request):
    raise ValueError("in the view")


@pytest.mark.parametrize(
    ("view", "status"),
    [(page_view, 200), (streaming(numbers), 200), (failing_view, 500)],
)
async def test_signals_are_sent_once(handler_class, signals, view, status):
    assert (await get(serve(handler_class, view)))[0] == status
    assert signals == ["started", "finished"]


LEFT = [(send_request, waiting_view), (open_stream, streaming(waiting))]


@pytest.mark.parametrize(("start", "view"), LEFT, ids=["view", "stream"])
async def test_signals_when_the_client_leaves(handler_class, signals, start, view):
    request = await start(serve(handler_class, view))
    await until(lambda: signals == ["started"])
    await leave(request)
    assert signals == ["started", "finished"]


async def test_no_signal_when_the_client_leaves_within_its_body(handler_class, signals):
    await leave(ApplicationCommunicator(serve(handler_class, page_view), SCOPE))
    assert signals == []


async def test_djangos_receivers_are_called(handler_class, monkeypatch):
    calls = []
    monkeypatch.setattr(connections, "all", lambda **kwargs: calls.append(True) or [])
    await get(serve(handler_class, page_view))
    assert len(calls) == 3  # two of request_started, one of request_finished


async def test_view_is_cancelled_when_the_client_leaves(handler_class):
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def view(request):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    request = await send_request(serve(handler_class, view))
    await begun.wait()
    await leave(request)
    assert cancelled.is_set()
    assert request.output_queue.empty()


async def test_generator_is_closed_when_the_client_leaves(handler_class):
    """Between two parts, too: here the server takes its time to write the first."""
    closed = []

    async def ticks():
        try:
            yield "tick"
        finally:
            closed.append(True)

    generator = ticks()  # kept, or Python closes what nobody refers to

    async def application(scope, receive, send):
        async def send_slowly(message):
            await send(message)
            if message.get("more_body"):
                await asyncio.Event().wait()

        view = streaming(lambda: generator, AsyncStreamingHttpResponse)
        await serve(handler_class, view)(scope, receive, send_slowly)

    stream = await open_stream(application)
    assert closed == []
    await leave(stream)
    assert closed == [True]


def sync_middleware(get_response):
    return lambda request: get_response(request)


async def test_generator_has_the_context_and_request_of_its_view(handler_class):
    async def view(request):
        language.set("fr")

        async def generator():
            yield f"{language.get()} {request.body.decode()}"

        return StreamingHttpResponse(generator())

    handler = serve(handler_class, view, [f"{__name__}.sync_middleware"])
    assert await get(handler, body=b"body") == (200, "fr body")


async def test_generator_leaves_the_task_group_that_its_view_entered(handler_class):
    async def view(request):
        group = await asyncio.TaskGroup().__aenter__()

        async def leaving():
            yield "1"
            await group.__aexit__(None, None, None)
            yield "2"

        return StreamingHttpResponse(leaving())

    assert await get(serve(handler_class, view)) == (200, "12")


async def test_receive_is_called_once_after_the_body(handler_class):
    """gunicorn's ASGI worker takes a cancelled call for the end of the connection."""
    calls = []

    async def application(scope, receive, send):
        async def counted():
            calls.append("receive")
            return await receive()

        await serve(handler_class, streaming(waiting))(scope, counted, send)

    await leave(await open_stream(application))
    assert len(calls) == 2


async def test_error_in_a_generator_arrives_as_itself(handler_class):
    async def failing():
        yield "1"
        raise ValueError("on purpose") from KeyError("inner")

    view = streaming(failing, AsyncStreamingHttpResponse)
    request = await send_request(serve(handler_class, view))
    with pytest.raises(ValueError, match="on purpose") as raised:
        await outcome(request)
    assert isinstance(raised.value.__cause__, KeyError)


@pytest.mark.parametrize("signal", [request_started, request_finished])
async def test_error_in_a_receiver_arrives_as_itself(handler_class, connect, signal):
    def failing(**kwargs):
        raise ValueError("in the receiver")

    connect(signal, failing)
    request = await send_request(serve(handler_class, page_view))
    with pytest.raises(ValueError, match="in the receiver"):
        await outcome(request)


async def test_message_after_the_body_is_an_error(handler_class):
    request = await send_request(serve(handler_class, waiting_view))
    await request.send_input({"type": "http.request"})
    with pytest.raises(AssertionError, match="Invalid ASGI message"):
        await outcome(request)


async def test_view_that_the_server_cancels_is_cut(handler_class):
    request = await send_request(serve(handler_class, waiting_view))
    await until(request.input_queue.empty)
    request.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outcome(request)


async def test_download_that_the_server_cancels_is_cut(handler_class):
    stream = await open_stream(serve(handler_class, streaming(waiting)))
    stream.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outcome(stream)
    assert stream.output_queue.empty()


event_view = streaming(waiting, content_type="text/event-stream; charset=utf-8")
END = {"type": "http.response.body"}


async def test_event_stream_ends_in_order_when_the_server_cancels(signals):
    """And its cancel no longer counts: a later task group would think it its own."""
    counts = []

    async def application(*arguments):
        await serve(ASGIHandler, event_view)(*arguments)
        counts.append(asyncio.current_task().cancelling())

    stream = await open_stream(application)
    stream.future.cancel()
    await outcome(stream)
    assert stream.output_queue.get_nowait() == END
    assert signals == ["started", "finished"]
    assert counts == [0]


async def broken_connection():
    raise OSError("the client has left")


@pytest.mark.parametrize("end", [broken_connection, asyncio.Event().wait])
async def test_event_stream_ends_though_its_client_has_left_or_does_not_read(end):
    async def application(scope, receive, send):
        async def send_but_the_end(message):
            await (end() if message == END else send(message))

        await serve(ASGIHandler, event_view)(scope, receive, send_but_the_end)

    stream = await open_stream(application)
    stream.future.cancel()
    await outcome(stream)
