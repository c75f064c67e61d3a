"""handlers.ASGIHandler beside Django's: the same in all but the threads.

What both must do runs on both, so that no test asks for more than Django gives.
"""

import asyncio
import io
import threading
import time
from contextvars import ContextVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers import asgi
from django.core.signals import request_finished, request_started
from django.db import connections
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.decorators import sync_and_async_middleware
from in_process import get, leave, open_request, open_stream, query, until

import handlers
from responses import AsyncStreamingHttpResponse

language = ContextVar("language")
events = []
generators = []  # keeps them from being closed because nobody refers to them


def thread_view(request):
    return HttpResponse(str(threading.get_ident()))


def meeting_view(request):
    """Return when two requests are in this view at the same time."""
    request.resolver_match.func.barrier.wait(timeout=5)
    return HttpResponse("met")


meeting_view.barrier = threading.Barrier(2)


def query_view(request):
    return HttpResponse(str(query()))


def query_and_fail_view(request):
    query()
    raise ValueError("on purpose")


def slow_query_view(request):
    query()
    events.append("queried")
    time.sleep(0.2)
    return HttpResponse("late")


async def async_query_view(request):
    return HttpResponse(str(await sync_to_async(query)()))


def sync_iterator_view(request):
    thread = threading.get_ident()

    def iterator():
        for _ in range(3):
            same = threading.get_ident() == thread
            yield f"{query()}{same} "

    return StreamingHttpResponse(iterator())


def file_view(request):
    return FileResponse(io.BytesIO(b"x" * 200_000), filename="x.bin")


async def upload_view(request):
    upload = request.FILES["file"]
    return HttpResponse(f"{upload.name} {len(upload.read())}")


async def cancelled_view(request):
    events.append("waiting")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        events.append("cancelled")
        raise


async def stream_view(request):
    language.set("fr")

    async def generator():
        try:
            yield "first "
            yield f"{language.get()} {request.body.decode()} "
            yield f"{await sync_to_async(query)()}"
        finally:
            events.append("generator closed")

    return StreamingHttpResponse(generator())


async def endless_view(request):
    async def generator():
        try:
            while True:
                yield "tick"
                await asyncio.sleep(60 if "wait" in request.GET else 0)
        finally:
            events.append("generator closed")

    await sync_to_async(query)()
    generators.append(generator())
    content_type = request.GET.get("type", "text/event-stream")
    return AsyncStreamingHttpResponse(generators[-1], content_type=content_type)


async def latin_view(request):
    async def generator():
        yield "é"

    return AsyncStreamingHttpResponse(
        generator(), content_type="text/plain; charset=latin-1"
    )


class ThreadResponse(HttpResponse):
    """A response that does something of its own when it is closed."""

    def close(self):
        super().close()
        events.append(threading.get_ident())


async def closing_view(request):
    return ThreadResponse("closed in a thread")


async def broken_stream_view(request):
    async def generator():
        yield "first"
        raise ValueError("on purpose")

    return AsyncStreamingHttpResponse(generator())


async def background_view(request):
    """Start a task that calls sync code after the response has been sent."""

    async def later():
        await asyncio.sleep(0.05)
        events.append(await sync_to_async(query)())
        await sync_to_async(connections.close_all)()

    background_view.task = asyncio.create_task(later())
    return HttpResponse("started")


class Request(asgi.ASGIRequest):
    urlconf = (
        path("thread/", thread_view),
        path("meeting/", meeting_view),
        path("query/", query_view),
        path("query/fail/", query_and_fail_view),
        path("query/slow/", slow_query_view),
        path("query/async/", async_query_view),
        path("iterator/", sync_iterator_view),
        path("file/", file_view),
        path("upload/", upload_view),
        path("cancelled/", cancelled_view),
        path("stream/", stream_view),
        path("stream/endless/", endless_view),
        path("stream/latin/", latin_view),
        path("closing/", closing_view),
        path("stream/broken/", broken_stream_view),
        path("background/", background_view),
    )


def new_handler(handler_class):
    handler = handler_class()
    handler.request_class = Request
    return handler


@pytest.fixture(params=[asgi.ASGIHandler, handlers.ASGIHandler], ids=["django", "ours"])
def handler(request):
    events.clear()
    return new_handler(request.param)


@pytest.fixture
def our_handler():
    events.clear()
    return new_handler(handlers.ASGIHandler)


@pytest.fixture
def signals():
    """The request signals that were sent, as a list that grows."""
    sent = []

    def started(**kwargs):
        sent.append("started")

    def finished(**kwargs):
        sent.append("finished")

    request_started.connect(started)
    request_finished.connect(finished)
    yield sent
    request_started.disconnect(started)
    request_finished.disconnect(finished)


async def test_sync_views_run_in_parallel(handler):
    answers = await asyncio.gather(*(get(handler, "/meeting/") for _ in range(2)))
    assert answers == [(200, "met")] * 2


async def test_sync_view_runs_outside_the_event_loop(handler):
    status, thread = await get(handler, "/thread/")
    assert status == 200
    assert int(thread) != threading.get_ident()


@pytest.mark.parametrize(
    "url", ["/query/", "/query/async/", "/query/fail/", "/iterator/", "/stream/"]
)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous")
async def test_connections_are_closed(handler, database, url):
    await get(handler, url)
    await until(lambda: 0 < database.opened == database.closed)


async def test_connections_are_closed_when_the_client_leaves(handler, database):
    communicator = open_request(handler, "/query/slow/")
    await communicator.send_input({"type": "http.request"})
    await until(lambda: "queried" in events)
    await communicator.send_input({"type": "http.disconnect"})
    await communicator.wait(5)
    await until(lambda: 0 < database.opened == database.closed)


async def test_open_stream_holds_no_connection(our_handler, database):
    stream = await open_stream(our_handler, "/stream/endless/?wait")
    await until(lambda: 0 < database.opened == database.closed)
    await leave(stream)


@pytest.mark.parametrize(
    ("url", "status"),
    [("/thread/", 200), ("/stream/", 200), ("/query/fail/", 500), ("/unknown/", 404)],
)
async def test_signals_are_sent_once(handler, signals, url, status):
    assert (await get(handler, url))[0] == status
    await until(lambda: "finished" in signals)
    assert signals == ["started", "finished"]


async def test_signals_are_sent_once_when_the_client_leaves(handler, signals):
    stream = await open_stream(handler, "/stream/endless/?wait")
    assert signals == ["started"]
    await leave(stream)
    assert signals == ["started", "finished"]


async def test_receiver_runs_in_the_thread_of_the_view(handler):
    threads = []

    def receiver(**kwargs):
        threads.append(threading.get_ident())

    request_started.connect(receiver)
    request_finished.connect(receiver)
    try:
        _, thread = await get(handler, "/thread/")
    finally:
        request_started.disconnect(receiver)
        request_finished.disconnect(receiver)
    assert threads == [int(thread), int(thread)]


@pytest.mark.parametrize("url", ["/closing/", "/stream/endless/?wait"])
async def test_receivers_run_outside_the_event_loop(handler, url):
    threads = []

    def receiver(**kwargs):
        threads.append(threading.get_ident())

    request_finished.connect(receiver)
    try:
        stream = open_request(handler, url)
        await stream.send_input({"type": "http.request"})
        await stream.receive_output(5)
        await stream.send_input({"type": "http.disconnect"})
        await until(lambda: threads)
    finally:
        request_finished.disconnect(receiver)
    assert threading.get_ident() not in threads
    await stream.wait(5)


async def test_response_with_an_own_close_is_closed_outside_the_event_loop(handler):
    assert await get(handler, "/closing/") == (200, "closed in a thread")
    assert len(events) == 1
    assert events != [threading.get_ident()]


async def test_stream_in_another_charset(handler):
    stream = open_request(handler, "/stream/latin/")
    await stream.send_input({"type": "http.request"})
    await stream.receive_output(5)
    assert (await stream.receive_output(5))["body"] == "é".encode("latin-1")
    await stream.wait(5)


async def test_sync_iterator_runs_in_the_thread_of_the_view(handler):
    with pytest.warns(Warning, match="must consume synchronous iterators"):
        assert await get(handler, "/iterator/") == (200, "1True " * 3)


async def test_file_response(handler):
    with pytest.warns(Warning, match="must consume synchronous iterators"):
        assert await get(handler, "/file/") == (200, "x" * 200_000)


async def test_upload(handler):
    body = (
        b"--b\r\n"
        b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        b"content\r\n--b--\r\n"
    )
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    headers.append((b"content-length", str(len(body)).encode()))
    answer = await get(handler, "/upload/", "POST", body, headers)
    assert answer == (200, "a.txt 7")


async def test_view_is_cancelled_when_the_client_leaves(handler, signals):
    communicator = open_request(handler, "/cancelled/")
    await communicator.send_input({"type": "http.request"})
    await until(lambda: "waiting" in events)
    await communicator.send_input({"type": "http.disconnect"})
    await communicator.wait(5)
    assert events == ["waiting", "cancelled"]
    assert signals == ["started", "finished"]
    assert await communicator.receive_nothing()


async def test_view_that_the_server_cancels(handler):
    communicator = open_request(handler, "/cancelled/")
    await communicator.send_input({"type": "http.request"})
    await until(lambda: "waiting" in events)
    communicator.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await communicator.future


async def test_background_task_outlives_its_request(handler):
    assert await get(handler, "/background/") == (200, "started")
    await background_view.task
    assert events == [1]


async def test_generator_has_the_context_and_the_request_of_its_view(handler):
    answer = await get(handler, "/stream/", "POST", b"the body")
    assert answer == (200, "first fr the body 1")
    assert events == ["generator closed"]


async def test_generator_that_fails(handler):
    stream = await open_stream(handler, "/stream/broken/")
    with pytest.raises(ValueError, match="on purpose"):
        await stream.wait(5)


@pytest.mark.parametrize("url", ["/stream/endless/", "/stream/endless/?wait"])
async def test_generator_is_closed_when_the_client_leaves(handler, url):
    stream = await open_stream(handler, url)
    assert events == []
    await stream.send_input({"type": "http.disconnect"})
    await until(lambda: events == ["generator closed"])
    await stream.wait(5)


async def test_server_that_cancels_gets_the_end_of_the_body(our_handler, signals):
    others = asyncio.all_tasks()
    stream = await open_stream(our_handler, "/stream/endless/?wait")
    stream.future.cancel()
    await stream.future
    assert events == ["generator closed"]
    assert await stream.receive_output(5) == {"type": "http.response.body"}
    assert signals == ["started", "finished"]
    await until(lambda: asyncio.all_tasks() == others)


async def test_download_that_the_server_cancels_does_not_look_complete(our_handler):
    stream = await open_stream(our_handler, "/stream/endless/?wait&type=text/plain")
    stream.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream.future
    assert events == ["generator closed"]
    assert stream.output_queue.empty()


async def test_request_that_cannot_be_built_is_finished(handler):
    finished = []

    def receiver(**kwargs):
        finished.append(threading.get_ident())

    request_finished.connect(receiver)
    try:
        assert (await get(handler, "/thread/?\xff"))[0] == 400
    finally:
        request_finished.disconnect(receiver)
    assert len(finished) == 1
    assert finished != [threading.get_ident()]


async def test_server_that_cancels_twice(our_handler, signals):
    """As uvicorn does: first its requests, then whatever is left in the loop."""
    others = asyncio.all_tasks()
    stream = await open_stream(our_handler, "/stream/endless/?wait")
    stream.future.cancel()
    assert await stream.receive_output(5) == {"type": "http.response.body"}
    for task in asyncio.all_tasks() - others:
        task.cancel()
    await stream.future
    assert events == ["generator closed"]


async def test_receive_is_called_once_after_the_body(handler):
    """gunicorn's ASGI worker takes a cancelled call for the end of the connection."""
    calls = []

    async def counted(scope, receive, send):
        def receive_counted():
            calls.append("receive")
            return receive()

        await handler(scope, receive_counted, send)

    stream = await open_stream(counted, "/stream/endless/?wait")
    await asyncio.sleep(0.05)
    assert calls == ["receive"] * 2
    await leave(stream)


def sync_middleware(get_response):
    def middleware(request):
        assert query() == 1
        response = get_response(request)
        response["X-Sync"] = "yes"
        return response

    return middleware


@sync_and_async_middleware
def async_middleware(get_response):
    async def upper(content):
        async for part in content:
            yield part.upper()

    async def middleware(request):
        response = await get_response(request)
        response.streaming_content = upper(response.streaming_content)
        return response

    return middleware


@pytest.mark.parametrize("name", ["sync_middleware", "async_middleware"])
@pytest.mark.parametrize(
    "handler_class", [asgi.ASGIHandler, handlers.ASGIHandler], ids=["django", "ours"]
)
async def test_middleware(handler_class, name, database):
    events.clear()
    with override_settings(MIDDLEWARE=[f"{__name__}.{name}"]):
        handler = new_handler(handler_class)
    _, body = await get(handler, "/stream/", "POST", b"body")
    shouts = name == "async_middleware"
    assert body == ("FIRST FR BODY 1" if shouts else "first fr body 1")
    assert events == ["generator closed"]
    await until(lambda: 0 < database.opened == database.closed)


async def test_middleware_does_not_keep_the_generator_open():
    events.clear()
    with override_settings(MIDDLEWARE=[f"{__name__}.async_middleware"]):
        handler = new_handler(handlers.ASGIHandler)
    stream = await open_stream(writing_slowly(handler), "/stream/endless/")
    await stream.send_input({"type": "http.disconnect"})
    await until(lambda: events == ["generator closed"])
    await stream.wait(5)


def writing_slowly(application):
    """The application on a server that takes its time to write each part."""

    async def slow(scope, receive, send):
        async def send_slowly(message):
            await send(message)
            if message.get("more_body"):
                await asyncio.sleep(60)

        await application(scope, receive, send_slowly)

    return slow


async def test_generator_is_closed_while_a_part_is_written(handler):
    stream = await open_stream(writing_slowly(handler), "/stream/endless/")
    await stream.send_input({"type": "http.disconnect"})
    await until(lambda: events == ["generator closed"])
    await stream.wait(5)


async def test_refuses_other_protocols(handler):
    communicator = ApplicationCommunicator(handler, {"type": "websocket"})
    with pytest.raises(ValueError, match="only handle ASGI/HTTP connections"):
        await communicator.wait(5)


async def test_client_that_leaves_before_its_request_is_complete(handler, signals):
    communicator = open_request(handler, "/thread/", "POST")
    await communicator.send_input({"type": "http.disconnect"})
    await communicator.wait(5)
    assert signals == []


def test_async_to_sync_works_after_a_request(handler):
    """What runs beside a request leaves no trace in the event loop's thread."""
    assert asyncio.run(get(handler, "/stream/"))[0] == 200

    async def answer():
        return 42

    assert async_to_sync(answer)() == 42
