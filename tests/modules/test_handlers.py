"""handlers.ASGIHandler beside Django's: the same in all but what its module says."""

import asyncio
from contextlib import suppress
from contextvars import ContextVar

import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import connections
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import get_script_prefix

from handlers import ASGIHandler
from responses import AsyncStreamingHttpResponse
from tests.support.in_process import (
    ROOM,
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
)

EVENTS = "text/event-stream; charset=utf-8"
END = {"type": "http.response.body"}
HOOKS = ["__call__", "handle", "read_body", "run_get_response", "send_response"]
language = ContextVar("language")
closed_wrappers = []


async def failing_view(request):
    raise ValueError("in the view")


@pytest.mark.parametrize(
    ("view", "status"),
    [(page_view, 200), (streaming(numbers), 200), (failing_view, 500)],
)
async def test_signals_are_sent_once(handler_class, signals, view, status):
    assert (await get(serve(handler_class, view)))[0] == status
    assert signals == ["started", "finished"]


async def waiting_view(request):
    await asyncio.Event().wait()


event_stream = streaming(waiting, content_type=EVENTS)


@pytest.mark.parametrize(
    ("start", "view"), [(send_request, waiting_view), (open_stream, event_stream)]
)
async def test_client_that_leaves_is_sent_no_more(handler_class, signals, start, view):
    request = await start(serve(handler_class, view))
    await until(lambda: signals == ["started"])
    await leave(request)
    assert signals == ["started", "finished"]
    assert request.output_queue.empty()


async def test_no_signal_when_the_client_leaves_within_its_body(handler_class, signals):
    await leave(ApplicationCommunicator(serve(handler_class, page_view), SCOPE))
    assert signals == []


async def test_djangos_receivers_are_called(handler_class, monkeypatch):
    calls = []
    monkeypatch.setattr(connections, "all", lambda **kwargs: calls.append(True) or [])
    await get(serve(handler_class, page_view))
    assert len(calls) == 3  # two of request_started, one of request_finished


def served(handler, sent):
    """The handler on a server that awaits sent(message) when it has sent a message."""

    async def application(scope, receive, send):
        async def send_and_wait(message):
            await send(message)
            await sent(message)

        await handler(scope, receive, send_and_wait)

    return application


def wrapping_middleware(get_response):
    async def wrapper(content):
        try:
            async for part in content:
                yield part
        finally:
            closed_wrappers.append(True)

    def middleware(request):
        response = get_response(request)
        response.streaming_content = wrapper(response.streaming_content)
        return response

    return middleware


@pytest.mark.parametrize("middleware", [[], [f"{__name__}.wrapping_middleware"]])
async def test_generator_is_closed_between_two_parts(
    handler_class, signals, middleware
):
    """The client leaves while the server takes its time to write the first."""
    closed_wrappers.clear()

    async def ticks():
        try:
            yield "tick"
        finally:
            signals.append("closed")

    async def slowly(message):
        if message.get("more_body"):
            await asyncio.Event().wait()

    generator = ticks()  # kept, or Python closes what nobody refers to
    view = streaming(lambda: generator, AsyncStreamingHttpResponse)
    stream = await open_stream(served(serve(handler_class, view, middleware), slowly))
    assert signals == ["started"]
    await leave(stream)
    assert signals == ["started", "closed", "finished"]
    assert len(closed_wrappers) == len(middleware)


async def test_generator_has_the_request_context_and_task_of_its_view(handler_class):
    async def view(request):
        language.set("fr")
        task = asyncio.current_task()

        async def generator():
            same = asyncio.current_task() is task
            yield f"{language.get()} {request.body.decode()} {same}"

        return StreamingHttpResponse(generator())

    handler = serve(handler_class, view)
    assert await get(handler, body=b"body") == (200, "fr body True")


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


async def event_page(request):
    return HttpResponse("123", content_type=EVENTS)


async def waiting_for_a_cancelled_task():
    yield "tick"
    task = asyncio.create_task(asyncio.sleep(ROOM))
    task.cancel()
    await task


@pytest.mark.parametrize(
    ("view", "is_cancelled"),
    [
        (event_page, True),
        (streaming(waiting), True),
        (streaming(waiting_for_a_cancelled_task, content_type=EVENTS), False),
    ],
)
async def test_cancelled_response_is_cut(view, is_cancelled):
    """What is cut must look cut, but for an event stream that the server cancels."""

    async def slowly(message):
        if message.get("body") == b"123":
            await asyncio.Event().wait()

    request = await send_request(served(serve(ASGIHandler, view), slowly))
    await until(lambda: request.output_queue.qsize() == 2)
    if is_cancelled:
        request.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outcome(request)
    assert request.output_queue.qsize() == 2


@pytest.mark.parametrize(
    ("generator", "ends"),
    [
        (waiting, [None]),
        (waiting, [OSError]),
        (waiting, ["wait"]),
        (numbers, ["wait", RuntimeError]),
    ],
    ids=["reads on", "has left", "reads no more", "has the last message"],
)
async def test_cancelled_event_stream_ends_cleanly_if_its_client(
    signals, generator, ends
):
    """And its cancel no longer counts: a later task group would think it its own."""
    ends, counts = iter(ends), []

    async def sent(message):
        end = next(ends) if message == END else None
        if end == "wait":
            await asyncio.Event().wait()
        if end:
            raise end

    async def application(*arguments):
        view = streaming(generator, content_type=EVENTS)
        await served(serve(ASGIHandler, view), sent)(*arguments)
        counts.append(asyncio.current_task().cancelling())

    stream = await open_stream(application)
    stream.future.cancel()
    await outcome(stream)
    assert [*ends] == []
    assert signals == ["started", "finished"]
    assert counts == [0]


async def test_cancel_after_an_event_stream_sends_no_second_end():
    class Handler(ASGIHandler):
        async def listen_for_disconnect(self, receive):
            with suppress(asyncio.CancelledError):
                await super().listen_for_disconnect(receive)
            await asyncio.Event().wait()  # so that the request has not ended, either

    handler = serve(Handler, streaming(numbers, content_type=EVENTS))
    stream = await send_request(served(handler, lambda message: asyncio.sleep(0)))
    await until(lambda: stream.output_queue.qsize() == 5)
    stream.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outcome(stream)
    assert stream.output_queue.qsize() == 5
