"""responses.AsyncStreamingHttpResponse, by itself and behind Django's own tools."""

import asyncio
import logging
from contextlib import aclosing

import pytest
from django.test import AsyncClient, override_settings
from django.urls import path
from in_process import leave, open_request, open_stream, serve

import handlers
from responses import AsyncStreamingHttpResponse


async def letters():
    yield "a"
    yield b"b"


async def parts(response):
    return [part async for part in response]


@pytest.mark.parametrize("content", [iter("ab"), ["a"], "ab", (c for c in "ab")])
def test_refuses_sync_iterable(content):
    with pytest.raises(TypeError, match="use an async generator"):
        AsyncStreamingHttpResponse(content)


def test_refuses_what_is_sync_and_async():
    """As a QuerySet is: Django's response would read it the sync way."""

    class Both(Letters):
        def __iter__(self):
            return iter("ab")

    with pytest.raises(TypeError, match="cannot stream Both"):
        AsyncStreamingHttpResponse(Both())


def test_refuses_sync_iterable_set_later():
    response = AsyncStreamingHttpResponse(letters())
    with pytest.raises(TypeError, match="use an async generator"):
        response.streaming_content = iter("ab")


def test_refuses_to_be_served_over_wsgi():
    with pytest.raises(TypeError, match="serve it with uvicorn"):
        iter(AsyncStreamingHttpResponse(letters()))


async def test_yields_bytes():
    assert await parts(AsyncStreamingHttpResponse(letters())) == [b"a", b"b"]


async def test_yields_bytes_in_its_charset():
    async def accents():
        yield "é"

    latin = {"content_type": "text/plain; charset=latin-1"}
    response = AsyncStreamingHttpResponse(accents(), **latin)
    assert await parts(response) == ["é".encode("latin-1")]


async def test_makes_bytes_as_a_subclass_wants():
    class Upper(AsyncStreamingHttpResponse):
        def make_bytes(self, value):
            return super().make_bytes(value).upper()

    assert await parts(Upper(letters())) == [b"A", b"B"]


class Letters:
    """An async iterable with a close() of its own."""

    closed = 0

    def __aiter__(self):
        return letters()

    def close(self):
        self.closed += 1


async def test_closes_an_async_iterable():
    content = Letters()
    response = AsyncStreamingHttpResponse(content)
    assert await parts(response) == [b"a", b"b"]
    response.close()
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
    async with aclosing(aiter(response)) as parts:
        assert await anext(parts) == b"a"
    assert closed


async def test_closes_the_generator_behind_middleware():
    closed = []

    async def generator():
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(True)

    content = generator()  # which is still referred to: nothing else would close it
    response = AsyncStreamingHttpResponse(content)
    response.streaming_content = upper(response.streaming_content)
    async with aclosing(aiter(response)) as parts:
        assert await anext(parts) == b"A"
    assert closed


async def test_closes_the_outermost_generator_first():
    closed = []

    async def layer(name, content):
        try:
            async for part in content:
                yield part
        finally:
            closed.append(name)

    inner = layer("inner", letters())
    response = AsyncStreamingHttpResponse(inner)
    response.streaming_content = layer("outer", response.streaming_content)
    async with aclosing(aiter(response)) as parts:
        await anext(parts)
    assert closed == ["outer", "inner"]


async def upper(content):
    async for part in content:
        yield part.upper()


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


async def heartbeat(content):
    """Send a comment when nothing else comes: as middleware does it."""
    parts = aiter(content)
    pending = asyncio.ensure_future(anext(parts))
    try:
        while True:
            done, _ = await asyncio.wait([pending], timeout=0.02)
            if done:
                yield pending.result()
                pending = asyncio.ensure_future(anext(parts))
            else:
                yield ":\n\n"
    finally:
        pending.cancel()


async def test_heartbeat_ends_without_a_complaint(caplog):
    closed = asyncio.Event()

    async def silent():
        try:
            await asyncio.sleep(60)
            yield "late"
        finally:
            closed.set()

    async def view(request):
        response = AsyncStreamingHttpResponse(silent())
        response.streaming_content = heartbeat(response.streaming_content)
        return response

    complaints = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: complaints.append(context))
    with caplog.at_level(logging.WARNING):
        await leave(await open_stream(serve(handlers.ASGIHandler, view)))
        await asyncio.wait_for(closed.wait(), 5)
        await asyncio.sleep(0.05)
    assert complaints == []
    assert caplog.records == []


async def test_generator_that_fails_behind_a_heartbeat_is_an_error():
    async def failing():
        yield "a"
        raise ValueError("on purpose")

    async def view(request):
        response = AsyncStreamingHttpResponse(failing())
        response.streaming_content = heartbeat(response.streaming_content)
        return response

    stream = open_request(serve(handlers.ASGIHandler, view))
    await stream.send_input({"type": "http.request"})
    with pytest.raises(ValueError, match="on purpose"):
        await stream.wait(5)
