"""Which thread runs sync code, closers and signals; and which threads are started."""

import asyncio
import functools
import threading

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.core.handlers import asgi
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings

from handlers import ASGIHandler
from responses import AsyncStreamingHttpResponse
from tests.support.in_process import (
    ROOM,
    get,
    leave,
    numbers,
    open_request,
    open_stream,
    outcome,
    page_view,
    query,
    send_request,
    serve,
    streaming,
    until,
    waiting,
)

in_thread = threading.local()
ran_in = []  # the threads in which a closer or a receiver ran


@pytest.fixture(autouse=True)
def forget():
    ran_in.clear()


def note_thread(*args, **kwargs):
    ran_in.append(threading.current_thread())


def check_thread(times=1):
    """It ran so often, and not on the event loop."""
    assert len(ran_in) == times
    assert threading.current_thread() not in ran_in


async def body_view(request):
    return HttpResponse(request.body)


class Content:
    """An async iterable that is none of Python's own, and is closed."""

    def __aiter__(self):
        return numbers()

    close = note_thread


class ClosingRequest(asgi.ASGIRequest):
    def close(self):
        super().close()
        note_thread()


class ClosingResponse(HttpResponse):
    def close(self):
        super().close()
        note_thread()


async def closers_view(request):
    response = AsyncStreamingHttpResponse(numbers())
    response._resource_closers.append(note_thread)
    return response


async def replaced_close_view(request):
    response = AsyncStreamingHttpResponse(numbers())
    original = response.close
    response.close = lambda: (note_thread(), original())
    return response


async def closing_view(request):
    return ClosingResponse("123")


async def upload_view(request):
    request.FILES["file"].close = note_thread
    return HttpResponse(request.FILES["file"].read())


DISPOSITION = b'Content-Disposition: form-data; name="file"; filename="a"'
UPLOAD = b"--b\r\n" + DISPOSITION + b"\r\n\r\n123\r\n--b--"
FORM = [
    (b"content-type", b"multipart/form-data; boundary=b"),
    (b"content-length", b"80"),
]


@pytest.mark.parametrize(
    ("view", "options"),
    [
        (streaming(Content), {}),
        (streaming(Content, AsyncStreamingHttpResponse), {}),
        (closers_view, {}),
        (replaced_close_view, {}),
        (closing_view, {}),
        (page_view, {"request_class": ClosingRequest}),
        (upload_view, {}),
    ],
    ids=["iterable", "ours", "closer", "replaced", "response", "request", "upload"],
)
async def test_closers_run_outside_the_event_loop(handler_class, view, options):
    headers = FORM if view is upload_view else ()
    handler = serve(handler_class, view, **options)
    assert await get(handler, "/", "POST", UPLOAD, headers) == (200, "123")
    check_thread()


class ClosingCache(LocMemCache):
    def close(self, **kwargs):
        note_thread()


async def cache_view(request):
    return HttpResponse(cache.get("key", "123"))


async def async_cache_view(request):
    return HttpResponse(await cache.aget("key", "123"))


@pytest.mark.parametrize("view", [cache_view, async_cache_view])
async def test_cache_is_closed_outside_the_event_loop(view):
    """Under Django 5.2 it is not always closed."""
    with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.ClosingCache"}}):
        assert await get(serve(ASGIHandler, view)) == (200, "123")
    check_thread()


@functools.wraps(close_old_connections)
def wrapped_receiver(**kwargs):
    note_thread()


class Nameless:
    """A receiver that has no module, as some that C code makes."""

    __module__ = None
    __call__ = staticmethod(note_thread)


class Answering(Nameless):
    """A receiver that answers every attribute, as mocks do."""

    def __getattr__(self, name):
        if name in ("__self__", "__func__"):  # it would be taken for a method
            raise AttributeError(name)
        return self


RECEIVERS = [note_thread, wrapped_receiver, Nameless(), Answering()]


@pytest.mark.parametrize("receiver", RECEIVERS)
async def test_receivers_run_outside_the_event_loop(handler_class, connect, receiver):
    for signal in (request_started, request_finished):
        connect(signal, receiver)
    assert await get(serve(handler_class, page_view)) == (200, "123")
    check_thread(2)


async def test_receiver_for_this_handler_class_alone(handler_class, connect):
    connect(request_finished, note_thread, handler_class)
    await leave(await open_stream(serve(handler_class, streaming(waiting))))
    check_thread()


def leave_tenant(get_response):
    """A sync middleware that leaves something in its thread and on its connection."""

    def middleware(request):
        query()
        in_thread.tenant = "blue"
        return get_response(request)

    return middleware


async def tenants():
    for _ in range(2):
        yield f"{await sync_to_async(getattr)(in_thread, 'tenant', 'none')} "


class NeedsThread(AsyncStreamingHttpResponse):
    needs_thread = True


MIDDLEWARE = [f"{__name__}.leave_tenant"]


@pytest.mark.parametrize("response_class", [StreamingHttpResponse, NeedsThread])
async def test_thread_is_kept(handler_class, response_class):
    handler = serve(handler_class, streaming(tenants, response_class), MIDDLEWARE)
    assert await get(handler) == (200, "blue " * 2)


async def test_response_that_needs_no_thread_gets_a_new_one(database):
    view = streaming(tenants, AsyncStreamingHttpResponse)
    handler = serve(ASGIHandler, view, MIDDLEWARE)
    assert await get(handler) == (200, "none " * 2)
    await until(lambda: 0 < database.opened == database.closed)


async def test_task_beside_the_stream_keeps_its_busy_thread(handler_class):
    """The stream neither waits for it nor ends it."""
    release, busy, tasks = threading.Event(), threading.Event(), []

    def block():
        busy.set()
        assert release.wait(ROOM)

    async def work():
        await sync_to_async(setattr)(in_thread, "tenant", "red")
        await sync_to_async(block)()
        return await sync_to_async(getattr)(in_thread, "tenant", "none")

    async def view(request):
        tasks.append(asyncio.create_task(work()))
        await until(busy.is_set)
        queued = asyncio.create_task(sync_to_async(query)())
        await asyncio.sleep(0)
        queued.cancel()
        await asyncio.wait([queued])  # which says nothing of the one before it
        return AsyncStreamingHttpResponse(waiting())

    stream = await open_stream(serve(handler_class, view))
    release.set()
    assert await tasks[0] == "red"
    await leave(stream)


async def test_task_beside_the_stream_keeps_its_transaction(handler_class):
    go, begun, tasks = asyncio.Event(), asyncio.Event(), []

    async def insert():
        atomic = transaction.atomic()
        await sync_to_async(atomic.__enter__)()
        await sync_to_async(query)("INSERT INTO kept VALUES (1)")
        begun.set()
        await go.wait()
        await sync_to_async(atomic.__exit__)(None, None, None)

    async def view(request):
        tasks.append(asyncio.create_task(insert()))
        await begun.wait()
        return AsyncStreamingHttpResponse(waiting())

    await sync_to_async(query)("CREATE TABLE kept (id)")
    stream = await open_stream(serve(handler_class, view))
    go.set()
    await tasks[0]
    await leave(stream)
    assert await sync_to_async(query)("SELECT count(*) FROM kept") == 1
    await sync_to_async(query)("DROP TABLE kept")


def test_connection_is_closed_under_async_to_sync(handler_class, database):
    """As in a sync test: sync code runs in the thread that waits for the answer."""

    def view(request):
        return HttpResponse(str(query()))

    handler = serve(handler_class, view)
    received, sent = [{"type": "http.request"}], []

    async def receive():
        return received.pop() if received else await asyncio.Event().wait()

    async def send(message):
        sent.append(message.get("body"))

    async_to_sync(handler)(open_request(handler).scope, receive, send)
    assert sent == [None, b"1"]
    assert database.opened == database.closed == 1


our_waiting_view = streaming(waiting, AsyncStreamingHttpResponse)


@pytest.mark.parametrize("middleware", [[], MIDDLEWARE], ids=["none", "sync"])
async def test_open_stream_holds_no_thread_and_no_connection(middleware, database):
    before = set(threading.enumerate())
    handler = serve(ASGIHandler, our_waiting_view, middleware)
    stream = await open_stream(handler)
    await until(lambda: set(threading.enumerate()) <= before)
    assert database.opened == database.closed == len(middleware)
    await leave(stream)


async def test_django_holds_a_thread_for_each_stream():
    """The reason for handlers.py; when this fails, Django no longer needs it."""
    before = set(threading.enumerate())
    stream = await open_stream(serve(asgi.ASGIHandler, our_waiting_view))
    assert set(threading.enumerate()) - before
    await leave(stream)


async def test_no_thread_is_started_where_only_djangos_code_would_run(monkeypatch):
    started = []
    start = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda self: (started.append(self), start(self))
    )
    assert await get(serve(ASGIHandler, page_view)) == (200, "123")
    assert await get(serve(ASGIHandler, body_view), "/", "POST", b"1") == (200, "1")
    await leave(await open_stream(serve(ASGIHandler, our_waiting_view)))
    assert started == []
    assert (await get(serve(ASGIHandler, closers_view)))[0] == 200
    assert len(started) > 0


@pytest.mark.parametrize("used", [False, True])
async def test_stream_leaves_the_thread_of_an_outer_context_alone(handler_class, used):
    """Another request works in it, which has begun after the stream has."""
    begun, go, pages, messages = asyncio.Event(), asyncio.Event(), [], asyncio.Queue()

    async def set_tenant(request):
        await sync_to_async(setattr)(in_thread, "tenant", "green")
        begun.set()
        await go.wait()
        return HttpResponse(await sync_to_async(getattr)(in_thread, "tenant", "none"))

    async def view(request):
        messages.put_nowait({"type": "http.request"})
        page = serve(handler_class, set_tenant)(request.scope, messages.get, pages_send)
        request.page = asyncio.create_task(page)
        await begun.wait()
        return AsyncStreamingHttpResponse(green_tenants(request))

    async def pages_send(message):
        pages.append(message.get("body"))

    async def green_tenants(request):
        async for tenant in tenants():
            yield tenant
        go.set()
        await request.page

    async def application(*arguments):
        async with ThreadSensitiveContext():
            if used:
                await sync_to_async(note_thread)()
            await serve(handler_class, view)(*arguments)

    assert await get(application) == (200, "green " * 2)
    assert pages == [None, b"green"]


async def call(handler, scope):
    """Serve a request in this task; nobody gets the answer."""
    messages = asyncio.Queue()
    messages.put_nowait({"type": "http.request"})

    async def send(message):
        pass

    await handler(scope, messages.get, send)


async def test_request_inside_another_leaves_its_thread_alone(handler_class):
    class Bare(handler_class):
        async def __call__(self, scope, receive, send):
            await self.handle(scope, receive, send)

    async def view(request):
        await sync_to_async(setattr)(in_thread, "tenant", "blue")
        stream = streaming(numbers, AsyncStreamingHttpResponse)
        await call(serve(Bare, stream), request.scope)
        return StreamingHttpResponse(tenants())

    assert await get(serve(handler_class, view)) == (200, "blue " * 2)


async def test_request_inside_another_does_not_keep_its_thread():
    async def view(request):
        await sync_to_async(setattr)(in_thread, "tenant", "blue")
        await call(serve(ASGIHandler, page_view), request.scope)
        return AsyncStreamingHttpResponse(tenants())

    assert await get(serve(ASGIHandler, view)) == (200, "none " * 2)


async def test_receivers_run_in_the_thread_of_an_outer_context(handler_class, database):
    """Django's of request_started close a connection that has been left there."""

    async def view(request):
        return HttpResponse(str(database.closed))

    async def application(*arguments):
        async with ThreadSensitiveContext():
            await sync_to_async(query)()
            await serve(handler_class, view)(*arguments)

    assert await get(application) == (200, "1")


async def test_sync_code_does_not_start_after_the_request_has_failed():
    """Unlike under Django 5.2, whose handler leaves the view running."""
    ran, busy, release = [], threading.Event(), threading.Event()

    def block():
        busy.set()
        release.wait(ROOM)

    async def view(request):
        first = asyncio.create_task(sync_to_async(block)())
        await asyncio.sleep(0)
        await sync_to_async(ran.append)("too late")  # queued behind the first
        await first

    request = await send_request(serve(ASGIHandler, view))
    await until(busy.is_set)
    await request.send_input({"type": "http.request"})  # which no server may send
    await until(request.input_queue.empty)
    asyncio.get_running_loop().call_soon(release.set)
    with pytest.raises(AssertionError, match="Invalid ASGI message"):
        await outcome(request)
    assert ran == []
