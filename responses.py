"""A StreamingHttpResponse for async generators alone."""

from collections.abc import AsyncIterable, AsyncIterator, Iterator

from django.http import StreamingHttpResponse


class AsyncStreamingHttpResponse(StreamingHttpResponse):
    """Stream an async iterable, and close it as soon as the response ends.

    Raises TypeError for a sync iterable, and over WSGI: in both cases Django's own
    (since 4.2) collects everything before it sends anything. Under handlers.ASGIHandler
    the view's thread is let go before the first part: what sync code left there (a
    tenant, a thread-local, an open transaction) is not there for what runs later.
    """

    needs_thread = False  # True, in a subclass or set on a response, keeps the thread

    def __init__(self, streaming_content: AsyncIterable, *args, **kwargs) -> None:
        content = streaming_content
        if not hasattr(content, "__aiter__") or hasattr(content, "__iter__"):
            raise TypeError(f"not an async generator: {type(content).__name__}")
        super().__init__(content, *args, **kwargs)

    def __iter__(self) -> Iterator[bytes]:
        raise TypeError(f"{type(self).__name__} needs ASGI: serve it with uvicorn")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._iterator if self.is_async else super().__aiter__()
        try:
            async for part in content:
                yield self.make_bytes(part)
        finally:
            if hasattr(content, "aclose"):
                await content.aclose()
