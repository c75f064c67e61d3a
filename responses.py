"""A StreamingHttpResponse for async iterables alone."""

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import AsyncExitStack

from django.http import StreamingHttpResponse


class AsyncStreamingHttpResponse(StreamingHttpResponse):
    """Stream an async iterable, and close it as soon as the response ends.

    Raises TypeError for a sync iterable, and over WSGI: Django's own (since 4.2) would
    collect an iterable of the other kind before it sends anything. handlers.ASGIHandler
    ends the view's thread before it sends the first part. What sync code left there (a
    tenant, a thread-local, an open transaction) is gone for what runs later.
    """

    needs_thread = False  # True, in a subclass or set on a response, keeps the thread

    def __init__(self, streaming_content: AsyncIterable, *args, **kwargs) -> None:
        if hasattr(streaming_content, "__iter__"):
            kind = type(streaming_content).__name__
            raise TypeError(f"needs an async iterable, not a sync one: {kind}")
        super().__init__(streaming_content, *args, **kwargs)
        self._given = self._iterator  # middleware may wrap or replace it

    def __iter__(self) -> Iterator[bytes]:
        raise TypeError(f"{type(self).__name__} needs ASGI: serve it with uvicorn")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.charset: str = self.charset  # each part would parse Content-Type for it
        # Middleware may have replaced the content by a sync iterable.
        content = self._iterator if self.is_async else super().__aiter__()
        iterators = [self._given] if content is self._given else [self._given, content]
        async with AsyncExitStack() as closers:
            for iterator in iterators:
                if hasattr(iterator, "aclose"):
                    closers.push_async_callback(iterator.aclose)
            async for part in content:
                yield self.make_bytes(part)
