"""responses.AsyncStreamingHttpResponse, by itself."""

import pytest

import app  # configures Django
from responses import AsyncStreamingHttpResponse

assert app


async def letters():
    yield "a"
    yield b"b"


@pytest.mark.parametrize("content", [iter("ab"), ["a"], "ab", (c for c in "ab")])
def test_refuses_sync_iterator(content):
    with pytest.raises(TypeError, match="use an async generator"):
        AsyncStreamingHttpResponse(content)


def test_refuses_sync_iterator_set_later():
    response = AsyncStreamingHttpResponse(letters())
    with pytest.raises(TypeError, match="use an async generator"):
        response.streaming_content = iter("ab")


def test_refuses_to_be_served_over_wsgi():
    with pytest.raises(TypeError, match="serve it over ASGI"):
        iter(AsyncStreamingHttpResponse(letters()))


async def test_yields_bytes():
    response = AsyncStreamingHttpResponse(letters())
    assert [part async for part in response] == [b"a", b"b"]


async def test_yields_bytes_in_its_charset():
    async def accents():
        yield "é"

    response = AsyncStreamingHttpResponse(
        accents(), content_type="text/plain; charset=latin-1"
    )
    assert [part async for part in response] == ["é".encode("latin-1")]


async def test_takes_any_async_iterable():
    class Letters:
        def __aiter__(self):
            return letters()

    assert [part async for part in AsyncStreamingHttpResponse(Letters())] == [
        b"a",
        b"b",
    ]


async def test_aclose_closes_the_generator_behind_middleware():
    closed = []

    async def generator():
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(True)

    async def upper(content):
        async for part in content:
            yield part.upper()

    response = AsyncStreamingHttpResponse(generator())
    response.streaming_content = upper(response.streaming_content)
    assert await anext(aiter(response)) == b"A"
    await response.aclose()
    assert closed
