"""Cancelled requests; and what a view enters and its generator leaves."""

import asyncio
import sys
import threading
import time
from contextlib import suppress
from contextvars import ContextVar

import anyio
import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.core.signals import request_started
from django.http import HttpResponse, StreamingHttpResponse

from handlers import ASGIHandler
from tests.support.in_process import (
    ROOM,
    cancel,
    get,
    leave,
    open_stream,
    outcome,
    page_view,
    query,
    send_request,
    serve,
    streaming,
    until,
    waiting,
    waiting_view,
)

EVENT_STREAM = {"content_type": "text/event-stream; charset=utf-8"}
END = {"type": "http.response.body"}
language = ContextVar("language")


async def server(coroutine, application):
    application.expire = asyncio.current_task().cancel
    await coroutine


async def asyncio_timeout(coroutine, application):
    async with asyncio.timeout(None) as timeout:
        application.expire = lambda: timeout.reschedule(0)
        await coroutine


async def anyio_timeout(coroutine, application):
    with anyio.fail_after(None) as scope:
        application.expire = lambda: setattr(scope, "deadline", anyio.current_time())
        await coroutine


CANCELS = [server, asyncio_timeout, anyio_timeout]


def within(cancels, handler):
    """An ASGI middleware; cancelling: what its task counts in the end."""

    async def application(scope, receive, send):
        try:
            await cancels(handler(scope, receive, send), application)
        finally:
            application.cancelling = asyncio.current_task().cancelling()

    return application


def sending(view, before):
    """Serve the view by our handler; call before(message) with each that is sent."""

    async def application(scope, receive, send):
        async def watched(message):
            await before(message)
            await send(message)

        await serve(ASGIHandler, view)(scope, receive, watched)

    return application


@pytest.mark.parametrize("cancels", CANCELS)
async def test_download_is_cut(cancels):
    application = within(cancels, serve(ASGIHandler, streaming(waiting)))
    stream = await open_stream(application)
    application.expire()
    with pytest.raises((TimeoutError, asyncio.CancelledError)):
        await outcome(stream)
    assert stream.output_queue.empty()
    assert application.cancelling == (cancels is server)


@pytest.mark.parametrize("cancels", CANCELS)
async def test_event_stream_ends_in_order(cancels, signals):
    """And its cancel no longer counts: a later task group would think it its own."""
    others = asyncio.all_tasks()
    handler = serve(ASGIHandler, streaming(waiting, **EVENT_STREAM))
    application = within(cancels, handler)
    stream = await open_stream(application)
    application.expire()
    await outcome(stream)
    assert stream.output_queue.get_nowait() == END
    assert application.cancelling == 0
    await until(lambda: signals == ["started", "finished"])
    await until(lambda: asyncio.all_tasks() == others)


async def test_event_stream_ends_in_order_though_its_client_has_gone():
    async def refuse(message):
        if message == END:
            raise OSError("the client has gone")

    await cancel(await open_stream(sending(streaming(waiting, **EVENT_STREAM), refuse)))


@pytest.mark.parametrize("stuck_at", ["http.response.start", "http.response.body"])
async def test_no_message_follows_one_that_was_not_sent_and_no_second_end(stuck_at):
    sent = []

    async def empty():
        return
        yield

    async def stick(message):
        sent.append(message["type"])
        if message["type"] == stuck_at:
            await asyncio.Event().wait()

    request = await send_request(sending(streaming(empty, **EVENT_STREAM), stick))
    await until(lambda: stuck_at in sent)
    with pytest.raises(asyncio.CancelledError):
        await cancel(request)
    assert sent.count(stuck_at) == 1
    assert sent[-1] == stuck_at


async def test_generator_that_raises_a_cancel_of_its_own_is_cut():
    async def cancelled():
        yield "tick"
        raise asyncio.CancelledError

    view = streaming(cancelled, **EVENT_STREAM)
    stream = await open_stream(serve(ASGIHandler, view))
    with pytest.raises(asyncio.CancelledError):
        await outcome(stream)
    assert stream.output_queue.empty()


async def test_server_that_cancels_whatever_is_left():
    """As uvicorn does after its requests: a wait for the end of a thread, too."""
    release, others = threading.Event(), asyncio.all_tasks()

    async def ticks():
        await sync_to_async(query)()
        yield "tick"
        await sync_to_async(release.wait)(ROOM)

    stream = await open_stream(serve(ASGIHandler, streaming(ticks, **EVENT_STREAM)))
    stream.future.cancel()
    asyncio.get_running_loop().call_soon(release.set)
    assert await stream.receive_output(ROOM) == END
    for task in asyncio.all_tasks() - others:
        task.cancel()
    await outcome(stream)


def cancelling_middleware(get_response):
    def middleware(request):
        request.scope["cancel"]()
        return get_response(request)

    return middleware


def canceller():
    """Return a function for other threads: it cancels the task that calls this."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    return lambda: loop.call_soon_threadsafe(task.cancel)


async def test_cancel_before_sync_middleware_calls_the_view(handler_class, signals):
    """It leaves asgiref an executor that has ended: Django does not use it again."""

    async def view(request):
        return HttpResponse("page")

    handler = serve(handler_class, view, [f"{__name__}.cancelling_middleware"])

    async def application(scope, receive, send):
        await handler(scope | {"cancel": canceller()}, receive, send)

    request = await send_request(application)
    with pytest.raises(asyncio.CancelledError):
        await outcome(request)
    if handler_class is ASGIHandler:
        await until(lambda: signals == ["started", "finished"])


async def test_cancel_before_sync_code_of_the_generator_calls_async_code(signals):
    """As above, but the generator catches the cancel; Django 6.1 fails in its close."""

    async def ticks():
        yield "tick"
        with suppress(asyncio.CancelledError):
            await sync_to_async(bridge)(canceller())
        asyncio.current_task().uncancel()

    def bridge(cancel):
        cancel()
        async_to_sync(asyncio.sleep)(0)

    assert await get(serve(ASGIHandler, streaming(ticks))) == (200, "tick")
    assert signals == ["started", "finished"]


def waiting_middleware(get_response):
    def middleware(request):
        begun, go = request.scope["events"]
        begun.set()
        assert go.wait(ROOM)
        return get_response(request)

    return middleware


async def test_client_leaves_before_sync_middleware_calls_the_view(signals):
    """As above, without a cancel by the server; Django 6.1 fails now and then."""
    begun, go = events = threading.Event(), threading.Event()

    class Handler(ASGIHandler):
        async def listen_for_disconnect(self, receive):
            try:
                await super().listen_for_disconnect(receive)
            finally:
                asyncio.get_running_loop().call_soon(keep_busy)

    def keep_busy():
        go.set()
        time.sleep(0.05)

    handler = serve(Handler, page_view, [f"{__name__}.waiting_middleware"])

    async def application(scope, receive, send):
        await handler(scope | {"events": events}, receive, send)

    request = await send_request(application)
    await until(begun.is_set)
    await leave(request)
    await until(lambda: signals == ["started", "finished"])


def closed_by(closer, generator, **options):
    async def view(request):
        response = StreamingHttpResponse(generator(), **options)
        response._resource_closers.append(closer)
        return response

    return view


def blocking():
    """Return a function that blocks its thread, and what it has and what ends it."""
    begun, release = threading.Event(), threading.Event()
    return lambda: (begun.set(), release.wait(ROOM)), begun, release


@pytest.mark.parametrize("options", [{}, EVENT_STREAM], ids=["download", "events"])
async def test_second_cancel_while_the_close_waits_for_a_busy_thread(options):
    block, begun, release = blocking()
    closed = threading.Event()

    async def ticks():
        yield "tick"
        await sync_to_async(block)()

    view = closed_by(closed.set, ticks, **options)
    stream = await open_stream(sending(view, lambda message: asyncio.sleep(0)))
    await until(begun.is_set)
    for _ in range(2):
        stream.future.cancel()
        for _ in range(9):  # turns of the loop, in which the close gets into the queue
            await asyncio.sleep(0)
    release.set()
    if options:
        await outcome(stream)
        assert stream.output_queue.get_nowait() == END
    else:
        with pytest.raises(asyncio.CancelledError):
            await outcome(stream)
    await until(closed.is_set)


async def test_client_leaves_while_the_server_cancels_and_a_thread_is_busy(signals):
    """Django drops the close then, from Python 3.13 on."""
    block, begun, release = blocking()

    async def view(request):
        request.busy = asyncio.create_task(sync_to_async(block)())
        await until(begun.is_set)
        return StreamingHttpResponse(waiting())

    stream = await open_stream(serve(ASGIHandler, view))
    stream.input_queue.put_nowait({"type": "http.disconnect"})
    stream.future.cancel()
    asyncio.get_running_loop().call_later(0.1, release.set)
    await asyncio.wait([stream.future])
    await until(lambda: signals == ["started", "finished"])


def cancelled():
    raise asyncio.CancelledError("of the closer")


async def test_cancel_of_a_closer_does_not_replace_the_servers(signals):
    """And request_finished is sent all the same."""
    stream = await open_stream(serve(ASGIHandler, closed_by(cancelled, waiting)))
    with pytest.raises(asyncio.CancelledError) as raised:
        await cancel(stream)
    assert raised.value.args == ()
    assert signals == ["started", "finished"]


async def test_cancel_of_a_closer_is_raised(handler_class, signals):
    stream = await open_stream(serve(handler_class, closed_by(cancelled, waiting)))
    await stream.send_input({"type": "http.disconnect"})
    with pytest.raises(asyncio.CancelledError, match="of the closer"):
        await outcome(stream)
    assert signals == ["started"]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="TaskGroup loses it until 3.13")
@pytest.mark.parametrize("used", [False, True])
async def test_cancel_comes_after_an_error(handler_class, connect, used):
    """Outer code that has a thread for the request meets it when it waits for that."""
    raised = []

    async def failing():
        try:
            async for part in waiting():
                yield part
        finally:
            raise ValueError("on purpose")

    async def application(*arguments):
        async with ThreadSensitiveContext():
            try:
                await serve(handler_class, streaming(failing))(*arguments)
            except ValueError:
                raised.append(True)
                raise

    if used:
        connect(request_started, lambda **kwargs: None)
    stream = await open_stream(application)
    with pytest.raises(asyncio.CancelledError):
        await cancel(stream)
    assert raised == [True]


async def test_error_response_that_is_cancelled_is_finished(signals):
    started = asyncio.Event()

    async def stick(message):
        started.set()
        await asyncio.Event().wait()

    request = await send_request(sending(waiting_view, stick), "/?\xff")
    await started.wait()
    with pytest.raises(asyncio.CancelledError):
        await cancel(request)
    assert signals == ["started", "finished"]


@pytest.mark.parametrize("sync", [False, True])
async def test_client_leaves_while_the_server_cancels(sync):
    """The cancel is raised where a TaskGroup keeps it: from Python 3.13 on."""
    raised = []

    async def view(request):
        if sync:
            await sync_to_async(query)()
        return StreamingHttpResponse(waiting())

    async def application(*arguments):
        try:
            await serve(ASGIHandler, view)(*arguments)
        except asyncio.CancelledError:
            raised.append(True)

    stream = await open_stream(application)
    stream.input_queue.put_nowait({"type": "http.disconnect"})
    stream.future.cancel()
    await asyncio.wait([stream.future])
    assert raised == [True] * (sys.version_info >= (3, 13))


@pytest.mark.skipif(sys.version_info < (3, 13), reason="TaskGroup loses it until 3.13")
async def test_cancel_that_the_generator_catches_is_raised_at_the_end(handler_class):
    async def stubborn():
        yield "tick"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield "tock"

    stream = await open_stream(serve(handler_class, streaming(stubborn)))
    with pytest.raises(asyncio.CancelledError):
        await cancel(stream)
    assert stream.output_queue.get_nowait()["body"] == b"tock"


async def enter_task_group():
    group = asyncio.TaskGroup()
    await group.__aenter__()
    return lambda: group.__aexit__(None, None, None)


async def set_language():
    token = language.set("fr")

    async def reset():
        language.reset(token)

    return reset


@pytest.mark.parametrize("enter", [enter_task_group, set_language])
async def test_generator_leaves_what_its_view_entered(handler_class, enter):
    async def view(request):
        leave = await enter()

        async def leaving():
            yield "1"
            await leave()
            yield "2"

        return StreamingHttpResponse(leaving())

    assert await get(serve(handler_class, view)) == (200, "12")


async def test_context_variables_leave_the_view():
    """As under Django 6.1; Django 5.2 runs the view in a task of its own."""

    async def view(request):
        await set_language()
        return HttpResponse("page")

    async def application(*arguments):
        await serve(ASGIHandler, view)(*arguments)
        assert language.get() == "fr"

    assert await get(application) == (200, "page")
