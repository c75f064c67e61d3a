"""A StreamingHttpResponse for async generators alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

from django.http import StreamingHttpResponse


class AsyncStreamingHttpResponse(StreamingHttpResponse):
    """Stream an async iterable, and close it as soon as the response ends.

    Raises TypeError for a sync iterable and over WSGI, where Django's own (since 4.2)
    collects everything before it sends anything. What a generator reads, it closes
    itself, as by contextlib.aclosing(). Under handlers.ASGIHandler the request's thread
    ends before the first part (that module tells when not): the generator, closers and
    receivers get a new one, without the tenant, thread-local or cursor left in the old.
    """

    needs_thread = False  # True, set in a subclass or a response, keeps the thread

    def _set_streaming_content(self, value):
        if value == []:  # from Django's test client, for HEAD and for a 204
            value = nothing()
        if not hasattr(value, "__aiter__") or hasattr(value, "__iter__"):
            raise TypeError(f"{type(value).__name__} is sync: use an async generator")
        super()._set_streaming_content(value)
        # Middleware may wrap the content and set it again: the last one is outermost.
        self.layers = (*getattr(self, "layers", ()), self._iterator)

    def __iter__(self) -> Iterator[bytes]:
        raise TypeError(f"{type(self).__name__} needs ASGI: serve it with uvicorn")

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._charset = self.charset  # looked up once, not for every part
        return self

    async def __anext__(self) -> bytes:
        return self.make_bytes(await anext(self._iterator))

    async def aclose(self) -> None:
        """Close all layers, the outermost first; the handler does so."""
        async with AsyncExitStack() as stack:
            for layer in self.layers:
                stack.push_async_callback(close_layer, layer)


async def close_layer(layer):
    # One that a task is reading, a heartbeat's, ends when that task is cancelled.
    if hasattr(layer, "aclose") and not getattr(layer, "ag_running", False):
        try:
            await layer.aclose()
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():  # else it is the generator's own
                raise


async def nothing() -> AsyncIterator[bytes]:
    return
    yield  # never reached: it makes this a generator
