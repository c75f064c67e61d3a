"""Cancelled requests; and what a view opens and its generator closes."""

import asyncio
import threading
from contextvars import ContextVar

import anyio
import pytest
from django.http import StreamingHttpResponse
from in_process import get, leave, open_request, open_stream, serve

import handlers
from responses import AsyncStreamingHttpResponse

EVENT_STREAM = {"content_type": "text/event-stream"}
DOWNLOAD = {"content_type": "text/plain"}
language = ContextVar("language")


async def wait_for(coroutine):
    await asyncio.wait_for(coroutine, 0.5)


async def asyncio_timeout(coroutine):
    async with asyncio.timeout(0.5):
        await coroutine


async def anyio_timeout(coroutine):
    with anyio.fail_after(0.5):
        await coroutine


TIMEOUTS = [wait_for, asyncio_timeout, anyio_timeout]


def waiting_view(**options):
    """A view whose generator sends one part, and then waits for ever."""

    async def waiting():
        yield "tick"
        await asyncio.sleep(60)

    async def view(request):
        return AsyncStreamingHttpResponse(waiting(), **options)

    return view


def within(timeout, handler):
    """An ASGI middleware with a timeout; cancelling: its task's count after that."""

    async def middleware(scope, receive, send):
        try:
            await timeout(handler(scope, receive, send))
        finally:
            middleware.cancelling = asyncio.current_task().cancelling()

    return middleware


@pytest.mark.parametrize("timeout", TIMEOUTS)
async def test_timeout_cuts_a_download(handler_class, timeout):
    application = within(timeout, serve(handler_class, waiting_view(**DOWNLOAD)))
    stream = await open_stream(application)
    with pytest.raises(TimeoutError):
        await stream.wait(5)
    assert stream.output_queue.empty()
    assert application.cancelling == 0


@pytest.mark.parametrize("timeout", TIMEOUTS)
async def test_timeout_ends_an_event_stream_in_order(timeout):
    handler = serve(handlers.ASGIHandler, waiting_view(**EVENT_STREAM))
    application = within(timeout, handler)
    stream = await open_stream(application)
    assert await stream.receive_output(5) == {"type": "http.response.body"}
    await stream.wait(5)
    assert application.cancelling == 0


@pytest.mark.parametrize("timeout", TIMEOUTS)
async def test_timeout_before_the_response_starts(handler_class, timeout):
    async def view(request):
        await asyncio.sleep(60)

    communicator = open_request(within(timeout, serve(handler_class, view)))
    await communicator.send_input({"type": "http.request"})
    with pytest.raises(TimeoutError):
        await communicator.wait(5)
    assert communicator.output_queue.empty()


async def test_cancel_while_the_start_is_sent():
    handler = serve(handlers.ASGIHandler, waiting_view(**EVENT_STREAM))
    sent = []

    async def application(scope, receive, send):
        async def stuck(message):
            sent.append(message["type"])
            await asyncio.sleep(60)

        await handler(scope, receive, stuck)

    communicator = open_request(within(wait_for, application))
    await communicator.send_input({"type": "http.request"})
    with pytest.raises(TimeoutError):
        await communicator.wait(5)
    assert sent == ["http.response.start"]


async def uncounted(coroutine):
    await coroutine


async def test_cancel_that_ends_an_event_stream_is_not_counted_on():
    """Else a task group that the server's task opens later takes it for its own."""
    handler = serve(handlers.ASGIHandler, waiting_view(**EVENT_STREAM))
    application = within(uncounted, handler)
    stream = await open_stream(application)
    stream.future.cancel()
    await stream.future
    assert application.cancelling == 0


async def test_generator_that_raises_a_cancel_of_its_own_is_cut():
    async def cancelled():
        yield "tick"
        raise asyncio.CancelledError

    async def view(request):
        return StreamingHttpResponse(cancelled(), **EVENT_STREAM)

    stream = await open_stream(serve(handlers.ASGIHandler, view))
    with pytest.raises(asyncio.CancelledError):
        await stream.future
    assert stream.output_queue.empty()


async def test_cancel_after_the_end_sends_no_second_end():
    release = threading.Event()

    async def view(request):
        response = StreamingHttpResponse(ticks(), **EVENT_STREAM)
        response._resource_closers.append(lambda: release.wait(5))
        return response

    stream = await open_stream(serve(handlers.ASGIHandler, view))
    assert await stream.receive_output(5) == {"type": "http.response.body"}
    stream.future.cancel()
    asyncio.get_running_loop().call_later(0.1, release.set)
    with pytest.raises(asyncio.CancelledError):
        await stream.future
    assert stream.output_queue.empty()


async def ticks():
    yield "tick"


async def test_cancel_before_the_first_event():
    async def silent():
        await asyncio.sleep(60)
        yield "late"

    async def view(request):
        content_type = "text/event-stream; charset=utf-8"
        return StreamingHttpResponse(silent(), content_type=content_type)

    stream = open_request(serve(handlers.ASGIHandler, view))
    await stream.send_input({"type": "http.request"})
    await stream.receive_output(5)
    stream.future.cancel()
    assert await stream.receive_output(5) == {"type": "http.response.body"}
    await stream.wait(5)


async def test_generator_may_clean_up_when_it_is_cancelled(handler_class):
    done = []

    async def careful():
        try:
            yield "tick"
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            done.append("cleaned up")

    async def view(request):
        return StreamingHttpResponse(careful(), **EVENT_STREAM)

    await leave(await open_stream(serve(handler_class, view)))
    assert done == ["cleaned up"]


def streaming(open_it, close_it):
    """A view that opens something which its generator closes."""

    async def view(request):
        opened = await open_it()

        async def closing():
            yield "1"
            await close_it(opened)
            yield "2"

        return StreamingHttpResponse(closing(), **EVENT_STREAM)

    return view


async def test_generator_resets_a_context_variable_of_its_view(handler_class):
    async def set_language():
        return language.set("fr")

    async def reset(token):
        language.reset(token)

    assert await get(serve(handler_class, streaming(set_language, reset))) == (
        200,
        "12",
    )


@pytest.mark.parametrize(
    "make", [asyncio.TaskGroup, anyio.create_task_group, lambda: asyncio.timeout(60)]
)
async def test_generator_closes_what_its_view_opened(handler_class, make):
    async def enter():
        opened = make()
        await opened.__aenter__()
        return opened

    async def leave(opened):
        await opened.__aexit__(None, None, None)

    assert await get(serve(handler_class, streaming(enter, leave))) == (200, "12")


async def test_task_group_of_a_view_ends_with_its_generator(handler_class):
    """A task that fails ends the stream, and the client's leaving ends the task."""
    ended = []

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("work")

    async def view(request):
        async def working():
            async with asyncio.TaskGroup() as group:
                group.create_task(work())
                yield "tick"
                await asyncio.sleep(60)

        return StreamingHttpResponse(working(), **EVENT_STREAM)

    await leave(await open_stream(serve(handler_class, view)))
    assert ended == ["work"]
