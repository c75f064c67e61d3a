"""Which thread runs sync code, closers and signals; and which threads are started."""

import asyncio
import threading

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.core.handlers import asgi
from django.core.signals import request_finished, request_started
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import override_settings
from in_process import get, leave, open_request, open_stream, query, serve, until

import handlers
from responses import AsyncStreamingHttpResponse

in_thread = threading.local()
closed_in = []  # the threads in which a closer ran


@pytest.fixture(autouse=True)
def forget():
    closed_in.clear()


def note_thread(*args, **kwargs):
    closed_in.append(threading.current_thread())


async def numbers():
    for number in "123":
        yield number


class Content:
    """An async iterable that is none of Python's own, and is closed."""

    def __aiter__(self):
        return numbers()

    close = note_thread


class ClosingRequest(asgi.ASGIRequest):
    def close(self):
        super().close()
        note_thread()


class ClosingCache(LocMemCache):
    def close(self, **kwargs):
        note_thread()


async def content_view(request):
    return StreamingHttpResponse(Content())


async def our_content_view(request):
    return AsyncStreamingHttpResponse(Content())


async def closers_view(request):
    response = AsyncStreamingHttpResponse(numbers())
    response._resource_closers.append(note_thread)
    return response


async def replaced_close_view(request):
    response = AsyncStreamingHttpResponse(numbers())
    original = response.close
    response.close = lambda: (note_thread(), original())
    return response


@pytest.mark.parametrize(
    "view", [content_view, our_content_view, closers_view, replaced_close_view]
)
async def test_closer_runs_outside_the_event_loop(handler_class, view):
    assert await get(serve(handler_class, view)) == (200, "123")
    assert len(closed_in) == 1
    assert closed_in != [threading.current_thread()]


async def test_close_of_a_request_class_runs_outside_the_event_loop(handler_class):
    handler = serve(handler_class, plain_view, request_class=ClosingRequest)
    assert await get(handler) == (200, "123")
    assert len(closed_in) == 1
    assert closed_in != [threading.current_thread()]


async def plain_view(request):
    return HttpResponse("123")


CACHES = {"default": {"BACKEND": f"{__name__}.ClosingCache"}}


async def test_cache_is_closed_outside_the_event_loop():
    """Under Django 5.2 it is not closed at all."""

    async def view(request):
        return HttpResponse(await cache.aget("key", "123"))

    with override_settings(CACHES=CACHES):
        assert await get(serve(handlers.ASGIHandler, view)) == (200, "123")
    assert closed_in
    assert threading.current_thread() not in closed_in


async def test_cache_used_on_the_event_loop_is_closed_outside_it():
    async def view(request):
        return HttpResponse(cache.get("key", "123"))

    with override_settings(CACHES=CACHES):
        assert await get(serve(handlers.ASGIHandler, view)) == (200, "123")
    assert closed_in
    assert threading.current_thread() not in closed_in


async def test_upload_is_closed_outside_the_event_loop(handler_class):
    async def view(request):
        request.FILES["file"].close = note_thread
        return HttpResponse("123")

    disposition = b'Content-Disposition: form-data; name="file"; filename="a.txt"'
    body = b"--b\r\n" + disposition + b"\r\n\r\ncontent\r\n--b--\r\n"
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    headers.append((b"content-length", str(len(body)).encode()))
    handler = serve(handler_class, view)
    assert await get(handler, "/", "POST", body, headers) == (200, "123")
    assert len(closed_in) == 1
    assert closed_in != [threading.current_thread()]


@pytest.mark.parametrize("signal", [request_started, request_finished])
async def test_receiver_for_this_handler_class_alone(handler_class, signal):
    signal.connect(note_thread, sender=handler_class)
    try:
        assert await get(serve(handler_class, plain_view)) == (200, "123")
    finally:
        signal.disconnect(note_thread, sender=handler_class)
    assert len(closed_in) == 1
    assert closed_in != [threading.current_thread()]


@pytest.mark.parametrize("signal", [request_started, request_finished])
async def test_async_receiver(handler_class, signal):
    async def receiver(**kwargs):
        note_thread()

    signal.connect(receiver)
    try:
        assert await get(serve(handler_class, plain_view)) == (200, "123")
    finally:
        signal.disconnect(receiver)
    assert len(closed_in) == 1


async def test_closers_of_many_streams_run_at_once(handler_class):
    """A pool of a few threads would keep them waiting for one another."""
    together = threading.Barrier(20)

    async def view(request):
        response = AsyncStreamingHttpResponse(numbers())
        response._resource_closers.append(lambda: together.wait(timeout=10))
        return response

    handler = serve(handler_class, view)
    assert await asyncio.gather(*(get(handler) for _ in range(20)))
    assert not together.broken


def leave_tenant(get_response):
    """A sync middleware that leaves something in its thread and on its connection."""

    def middleware(request):
        query()
        in_thread.tenant = "blue"
        return get_response(request)

    return middleware


async def tenants(number=3):
    for _ in range(number):
        yield f"{await sync_to_async(getattr)(in_thread, 'tenant', 'none')} "


def tenant_view(response_class, **attributes):
    async def view(request):
        response = response_class(tenants())
        vars(response).update(attributes)
        return response

    return view


MIDDLEWARE = [f"{__name__}.leave_tenant"]


async def test_djangos_response_keeps_the_thread(handler_class):
    handler = serve(handler_class, tenant_view(StreamingHttpResponse), MIDDLEWARE)
    assert await get(handler) == (200, "blue " * 3)


async def test_response_that_needs_no_thread_gets_a_new_one(database):
    view = tenant_view(AsyncStreamingHttpResponse)
    assert await get(serve(handlers.ASGIHandler, view, MIDDLEWARE)) == (
        200,
        "none " * 3,
    )
    await until(lambda: 0 < database.opened == database.closed)


async def test_response_that_needs_its_thread_keeps_it():
    view = tenant_view(AsyncStreamingHttpResponse, needs_thread=True)
    assert await get(serve(handlers.ASGIHandler, view, MIDDLEWARE)) == (
        200,
        "blue " * 3,
    )


async def test_stream_does_not_wait_for_what_its_thread_does():
    release = threading.Event()
    tasks = []

    async def view(request):
        tasks.append(asyncio.create_task(sync_to_async(release.wait)(5)))
        await asyncio.sleep(0.05)  # the thread has begun
        return AsyncStreamingHttpResponse(waiting())

    stream = await open_stream(serve(handlers.ASGIHandler, view))
    release.set()
    assert await tasks[0]  # not: five seconds later, unreleased
    await leave(stream)


def test_connection_is_closed_under_async_to_sync(handler_class, database):
    """As in a sync test: sync code runs in the thread that waits for the answer."""

    def view(request):
        return HttpResponse(str(query()))

    handler = serve(handler_class, view)
    received, sent = [{"type": "http.request"}], []

    async def receive():
        return received.pop() if received else await asyncio.sleep(60)

    async def send(message):
        sent.append(message.get("body"))

    async_to_sync(handler)(open_request(handler).scope, receive, send)
    assert sent == [None, b"1"]
    assert database.opened == database.closed == 1


async def waiting():
    yield "tick"
    await asyncio.sleep(60)


async def waiting_view(request):
    return AsyncStreamingHttpResponse(waiting())


@pytest.mark.parametrize("middleware", [[], MIDDLEWARE], ids=["none", "sync"])
async def test_open_stream_holds_no_thread_and_no_connection(middleware, database):
    before = set(threading.enumerate())
    handler = serve(handlers.ASGIHandler, waiting_view, middleware)
    streams = [await open_stream(handler) for _ in range(5)]
    await until(lambda: set(threading.enumerate()) <= before)
    assert database.opened == database.closed == (5 if middleware else 0)
    for stream in streams:
        await leave(stream)


async def test_django_holds_a_thread_for_each_stream():
    """The reason for handlers.py; when this fails, Django no longer needs it."""
    before = set(threading.enumerate())
    handler = serve(asgi.ASGIHandler, waiting_view)
    streams = [await open_stream(handler) for _ in range(5)]
    assert len(set(threading.enumerate()) - before) >= len(streams)
    for stream in streams:
        await leave(stream)


async def test_no_thread_is_started_where_only_djangos_code_would_run(monkeypatch):
    started = []
    start = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda self: (started.append(self), start(self))
    )
    assert await get(serve(handlers.ASGIHandler, plain_view)) == (200, "123")
    await leave(await open_stream(serve(handlers.ASGIHandler, waiting_view)))
    assert started == []
    assert (await get(serve(handlers.ASGIHandler, closers_view)))[0] == 200
    assert len(started) > 0


def in_outer_context(application):
    """An ASGI middleware whose thread the requests inside it share."""

    async def outer(scope, receive, send):
        async with ThreadSensitiveContext():
            await sync_to_async(setattr)(in_thread, "tenant", "outer")
            await application(scope, receive, send)
            outer.tenant = await sync_to_async(getattr)(in_thread, "tenant", "none")

    return outer


async def test_connections_are_closed_inside_an_outer_context(handler_class, database):
    def view(request):
        return HttpResponse(str(query()))

    application = in_outer_context(serve(handler_class, view))
    assert await get(application) == (200, "1")
    assert database.opened == database.closed == 1


async def test_outer_context_keeps_its_thread(handler_class):
    handler = serve(handler_class, tenant_view(AsyncStreamingHttpResponse))
    application = in_outer_context(handler)
    assert await get(application) == (200, "outer " * 3)
    assert application.tenant == "outer"


async def test_sync_code_does_not_start_after_the_request_has_failed():
    """Unlike under Django 5.2, whose handler leaves the view running."""
    ran = []
    release = threading.Event()

    async def view(request):
        first = asyncio.create_task(sync_to_async(release.wait)(5))
        await asyncio.sleep(0)
        await sync_to_async(ran.append)("too late")  # queued behind the first
        await first

    handler = serve(handlers.ASGIHandler, view)
    communicator = open_request(handler)
    for _ in range(2):  # the second is none that a server may send
        await communicator.send_input({"type": "http.request"})
    asyncio.get_running_loop().call_later(0.2, release.set)
    with pytest.raises(AssertionError, match="Invalid ASGI message"):
        await communicator.wait(5)
    assert ran == []


class Nameless:
    """A receiver that has no module, as some that C code makes."""

    __module__ = None

    def __call__(self, **kwargs):
        note_thread()


async def test_receiver_without_a_module(handler_class):
    receiver = Nameless()
    for signal in (request_started, request_finished):
        signal.connect(receiver)
    try:
        assert await get(serve(handler_class, plain_view)) == (200, "123")
    finally:
        for signal in (request_started, request_finished):
            signal.disconnect(receiver)
    assert len(closed_in) == 2
    assert threading.current_thread() not in closed_in


class BareStream(HttpResponseBase):
    """A streaming response that does not descend from Django's."""

    streaming = True

    async def __aiter__(self):
        async for number in numbers():
            yield number.encode()


async def test_streaming_response_that_is_none_of_djangos(handler_class):
    async def view(request):
        return BareStream()

    assert await get(serve(handler_class, view)) == (200, "123")
