"""responses.AsyncStreamingHttpResponse, by itself and behind Django's own tools."""

import asyncio
import logging
from contextlib import aclosing

import pytest
from django.test import AsyncClient, override_settings
from django.urls import path

from handlers import ASGIHandler
from responses import AsyncStreamingHttpResponse
from tests.support.in_process import ROOM, leave, open_stream, send_request, serve


async def letters():
    yield "a"
    yield b"b"


async def parts(response):
    return [part async for part in response]


class Letters:
    """An async iterable with a close() of its own."""

    closed = 0

    def __aiter__(self):
        return letters()

    def close(self):
        self.closed += 1


class Both(Letters):
    """As a QuerySet is: Django's response would read it the sync way."""

    def __iter__(self):
        return iter("ab")


@pytest.mark.parametrize("content", [iter("ab"), ["a"], "ab", Both()])
def test_refuses_sync_iterable(content):
    with pytest.raises(TypeError, match=f"{type(content).__name__} is sync: use an"):
        AsyncStreamingHttpResponse(content)
    response = AsyncStreamingHttpResponse(letters())
    with pytest.raises(TypeError, match="use an async generator"):
        response.streaming_content = content


def test_refuses_to_be_served_over_wsgi():
    with pytest.raises(TypeError, match="serve it with uvicorn"):
        iter(AsyncStreamingHttpResponse(letters()))


class Upper(AsyncStreamingHttpResponse):
    def make_bytes(self, value):
        return super().make_bytes(value).upper()


async def accents():
    yield "é"


@pytest.mark.parametrize(
    ("response", "content"),
    [
        (lambda: AsyncStreamingHttpResponse(letters()), b"ab"),
        (lambda: AsyncStreamingHttpResponse(Letters()), b"ab"),
        (lambda: Upper(letters()), b"AB"),
        (
            lambda: AsyncStreamingHttpResponse(
                accents(), content_type="text/plain; charset=latin-1"
            ),
            b"\xe9",
        ),
    ],
    ids=["generator", "iterable", "make_bytes", "charset"],
)
async def test_yields_bytes(response, content):
    assert b"".join(await parts(response())) == content


async def test_calls_the_close_of_an_async_iterable():
    content = Letters()
    AsyncStreamingHttpResponse(content).close()
    assert content.closed == 1


async def test_closes_the_generator_of_an_async_iterable():
    """An iterable whose __aiter__ is itself a generator, as a class often has it."""
    closed = []

    class Events:
        async def __aiter__(self):
            try:
                yield "a"
                yield "b"
            finally:
                closed.append(True)

    response = AsyncStreamingHttpResponse(Events())  # refers to the generator, too
    async with aclosing(aiter(response)) as content:
        assert await anext(content) == b"a"
    assert closed


def layered(closed, raises=None):
    """A response whose generator middleware has wrapped; each notes its closing."""

    async def layer(name, content):
        try:
            async for part in content:
                yield part
        finally:
            closed.append(name)
            if name == raises:
                raise ValueError(f"in the {name} layer")

    inner = layer("inner", letters())  # referred to: nothing else would close it
    response = AsyncStreamingHttpResponse(inner)
    response.streaming_content = layer("outer", response.streaming_content)
    response.kept = inner
    return response


async def test_closes_the_outermost_generator_first():
    closed = []
    async with aclosing(aiter(layered(closed))) as content:
        assert await anext(content) == b"a"
    assert closed == ["outer", "inner"]


@pytest.mark.parametrize("failing", ["outer", "inner"])
async def test_closes_all_generators_whichever_fails(failing):
    closed = []
    content = aiter(layered(closed, failing))
    await anext(content)
    with pytest.raises(ValueError, match=f"in the {failing} layer"):
        await content.aclose()
    assert closed == ["outer", "inner"]


async def test_cancel_of_the_generator_does_not_replace_an_error():
    """Django's response leaves the closing, and what it raises, to Python."""

    async def cancelled():
        try:
            yield "a"
        finally:
            raise asyncio.CancelledError("of the generator")

    content = aiter(AsyncStreamingHttpResponse(cancelled()))
    await anext(content)
    await content.aclose()


async def letters_view(request):
    return AsyncStreamingHttpResponse(letters())


async def empty_view(request):
    return AsyncStreamingHttpResponse(letters(), status=204)


class Urls:
    urlpatterns = (path("", letters_view), path("empty/", empty_view))


@pytest.mark.parametrize(
    ("method", "url", "content"),
    [("get", "/", b"ab"), ("head", "/", b""), ("get", "/empty/", b"")],
)
async def test_under_djangos_test_client(method, url, content):
    with override_settings(ROOT_URLCONF=Urls):
        response = await getattr(AsyncClient(), method)(
            url, headers={"Host": "localhost"}
        )
    assert b"".join(await parts(response)) == content


def with_heartbeat(generator):
    """Middleware that sends comments while nothing else comes: a task of its own."""

    async def heartbeat(content):
        content = aiter(content)
        pending = asyncio.ensure_future(anext(content))
        try:
            while True:
                done, _ = await asyncio.wait([pending], timeout=0.02)
                yield pending.result() if done else ":\n\n"
                if done:
                    pending = asyncio.ensure_future(anext(content))
        finally:
            pending.cancel()

    async def view(request):
        response = AsyncStreamingHttpResponse(generator())
        response.streaming_content = heartbeat(response.streaming_content)
        return response

    return serve(ASGIHandler, view)


async def test_heartbeat_ends_without_a_complaint(caplog):
    closed, complaints = asyncio.Event(), []

    async def silent():
        try:
            await asyncio.Event().wait()
            yield "late"
        finally:
            closed.set()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: complaints.append(context))
    with caplog.at_level(logging.WARNING):
        await leave(await open_stream(with_heartbeat(silent)))
        await asyncio.wait_for(closed.wait(), ROOM)
        await asyncio.sleep(0.05)  # for a complaint that comes late
    assert complaints == caplog.records == []


async def failing():
    yield "a"
    raise ValueError("on purpose")


async def test_error_of_a_generator_behind_a_heartbeat_is_raised():
    stream = await send_request(with_heartbeat(failing))
    with pytest.raises(ValueError, match="on purpose"):
        await stream.wait(ROOM)
