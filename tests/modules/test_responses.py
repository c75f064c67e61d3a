"""responses.AsyncStreamingHttpResponse, by itself and behind Django's own tools."""

import pytest

from responses import AsyncStreamingHttpResponse


async def letters():
    yield b"b"
    yield "é"


class Letters:
    """An async iterator that is no generator: it has no aclose()."""

    def __init__(self):
        self.left = ["b", "a"]

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.left:
            return self.left.pop()
        raise StopAsyncIteration


class Both(Letters):
    """As a QuerySet is: Django's response would read it the sync way."""

    def __iter__(self):
        return iter("ab")


@pytest.mark.parametrize("content", [["a"], Both()])
def test_refuses_sync_iterable(content):
    with pytest.raises(TypeError, match=r"sync one: (list|Both)"):
        AsyncStreamingHttpResponse(content)


def test_refuses_to_be_served_over_wsgi():
    with pytest.raises(TypeError, match="serve it with uvicorn"):
        iter(AsyncStreamingHttpResponse(letters()))


@pytest.mark.parametrize(
    ("content", "charset", "parts"),
    [
        (letters, "utf-8", [b"b", b"\xc3\xa9"]),
        (letters, "latin-1", [b"b", b"\xe9"]),
        (Letters, "utf-8", [b"a", b"b"]),
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


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous")
async def test_content_may_be_replaced_by_a_sync_one():
    """As Django's test client does for HEAD."""
    response = AsyncStreamingHttpResponse(letters())
    response.streaming_content = ["a"]
    assert [part async for part in response] == [b"a"]
