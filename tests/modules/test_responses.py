"""responses.AsyncStreamingHttpResponse by itself, without a handler."""

import asyncio
from unittest.mock import AsyncMock

import pytest
from django.db.models import QuerySet

from responses import AsyncStreamingHttpResponse


async def letters():
    yield b"b"
    yield "é"


def lines():
    """A StreamReader, as for a program's output; it has no aclose()."""
    reader = asyncio.StreamReader()
    reader.feed_data(b"a\nb")
    reader.feed_eof()
    return reader


def test_refuses_sync_iterable():
    """A QuerySet is both: Django's response would read it the sync way."""
    with pytest.raises(TypeError, match="sync one: QuerySet"):
        AsyncStreamingHttpResponse(QuerySet())


def test_refuses_to_be_served_over_wsgi():
    with pytest.raises(TypeError, match="serve it with uvicorn"):
        iter(AsyncStreamingHttpResponse(letters()))


@pytest.mark.parametrize(
    ("content", "charset", "parts"),
    [
        (letters, "utf-8", [b"b", b"\xc3\xa9"]),
        (letters, "latin-1", [b"b", b"\xe9"]),
        (lines, "utf-8", [b"a\n", b"b"]),
    ],
)
async def test_yields_bytes(content, charset, parts):
    kind = f"text/plain; charset={charset}"
    response = AsyncStreamingHttpResponse(content(), content_type=kind)
    received = []
    async for part in response:
        received.append(part)
        del response["Content-Type"]  # or each part would have to parse it
    assert received == parts


async def test_closes_once_what_may_refuse_a_second_time():
    content = lines()
    content.aclose = AsyncMock()
    assert [part async for part in AsyncStreamingHttpResponse(content)]
    content.aclose.assert_awaited_once()


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous")
async def test_content_may_be_replaced_by_a_sync_one():
    """As Django's test client does for HEAD."""
    response = AsyncStreamingHttpResponse(letters())
    response.streaming_content = ["a"]
    assert [part async for part in response] == [b"a"]
