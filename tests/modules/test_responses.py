"""responses.AsyncStreamingHttpResponse, by itself and behind Django's own tools."""

import pytest
from django.test import AsyncClient, override_settings
from django.urls import path
from django.utils.decorators import async_only_middleware

from handlers import ASGIHandler
from responses import AsyncStreamingHttpResponse
from tests.support.in_process import get, serve, streaming


async def letters():
    yield "é"
    yield b"b"


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
    with pytest.raises(TypeError, match=r"generator: (list|Both)"):
        AsyncStreamingHttpResponse(content)


def test_refuses_to_be_served_over_wsgi():
    with pytest.raises(TypeError, match="serve it with uvicorn"):
        iter(AsyncStreamingHttpResponse(letters()))


@pytest.mark.parametrize(
    ("content", "charset", "parts"),
    [
        (letters, None, [b"\xc3\xa9", b"b"]),
        (letters, "latin-1", [b"\xe9", b"b"]),
        (Letters, None, [b"a", b"b"]),
    ],
)
async def test_yields_bytes(content, charset, parts):
    response = AsyncStreamingHttpResponse(content(), charset=charset)
    assert [part async for part in response] == parts


@async_only_middleware
def upper_middleware(get_response):
    async def upper(content):
        async for part in content:
            yield part.upper()

    async def middleware(request):
        response = await get_response(request)
        response.streaming_content = upper(response.streaming_content)
        return response

    return middleware


async def test_middleware_may_wrap_the_content():
    view = streaming(letters, AsyncStreamingHttpResponse)
    handler = serve(ASGIHandler, view, [f"{__name__}.upper_middleware"])
    assert await get(handler) == (200, "éB")


class Urls:
    urlpatterns = (path("", streaming(letters, AsyncStreamingHttpResponse)),)


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous")
async def test_head_by_djangos_test_client():
    with override_settings(ROOT_URLCONF=Urls):
        response = await AsyncClient().head("/")
    assert [part async for part in response] == []
