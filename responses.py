"""A StreamingHttpResponse for async generators alone."""

from collections.abc import AsyncIterator, Iterator

from django.http import StreamingHttpResponse


class AsyncStreamingHttpResponse(StreamingHttpResponse):
    """Stream an async iterable, and close it as soon as the response ends.

        return AsyncStreamingHttpResponse(events(), content_type="text/event-stream")

    Raises TypeError for a sync iterable and over WSGI, where Django's own (since 4.2)
    collects everything before it sends anything. Under handlers.ASGIHandler the thread
    of the request ends, its connections closed, before the first part: what a sync
    middleware or view left there (a tenant, a thread-local, an open transaction) is not
    there in the generator. Sync code that the generator calls gets a new thread.
    """

    needs_thread = False  # True keeps the thread

    def _set_streaming_content(self, value):
        if value == []:  # from Django's test client, for HEAD and for a 204
            value = nothing()
        if not hasattr(value, "__aiter__") or hasattr(value, "__iter__"):
            what = f"{type(self).__name__} cannot stream {type(value).__name__}"
            raise TypeError(f"{what}: use an async generator (async def, yield)")
        super()._set_streaming_content(value)
        # Middleware may wrap the content and set it again: the last set is outermost.
        self.layers = [self._iterator, *getattr(self, "layers", [])]

    def __iter__(self) -> Iterator[bytes]:
        raise TypeError(f"{type(self).__name__} needs ASGI: serve it with uvicorn")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.charset = self.charset  # looked up once, not for every part
        try:
            async for part in self._iterator:
                yield self.make_bytes(part)
        finally:
            for layer in self.layers:
                is_read = getattr(layer, "ag_running", False)  # another task ends it
                if hasattr(layer, "aclose") and not is_read:
                    await layer.aclose()


async def nothing() -> AsyncIterator[bytes]:
    return
    yield
