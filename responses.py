"""A StreamingHttpResponse for async generators alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

from django.http import StreamingHttpResponse


class AsyncStreamingHttpResponse(StreamingHttpResponse):
    """Stream an async iterable, and close it as soon as the response ends.

    Raises TypeError for a sync iterable and over WSGI, where Django's own (since 4.2)
    collects everything before it sends anything. Under handlers.ASGIHandler the thread
    of the request ends before the first part; that module tells when it does not. What
    sync code left there (a tenant, a thread-local, a connection) the generator does not
    see, nor do resource closers and receivers of request_finished: theirs is a new one.
    """

    needs_thread = False  # True, set in a subclass or a response, keeps the thread
    charset: str

    def _set_streaming_content(self, value):
        if value == []:  # from Django's test client, for HEAD and for a 204
            value = nothing()
        if not hasattr(value, "__aiter__") or hasattr(value, "__iter__"):
            what = f"{type(self).__name__} cannot stream {type(value).__name__}"
            raise TypeError(f"{what}: use an async generator (async def, yield)")
        super()._set_streaming_content(value)
        # Middleware may wrap the content and set it again: the last one is outermost.
        self.layers = (*getattr(self, "layers", ()), self._iterator)

    def __iter__(self) -> Iterator[bytes]:
        raise TypeError(f"{type(self).__name__} needs ASGI: serve it with uvicorn")

    def __aiter__(self) -> AsyncIterator[bytes]:
        self.charset = self.charset  # looked up once, not for every part
        return self

    async def __anext__(self) -> bytes:
        return self.make_bytes(await anext(self._iterator))

    async def aclose(self) -> None:
        """Close all layers, the outermost first; the handler does so."""
        async with AsyncExitStack() as stack:
            for layer in self.layers:
                stack.push_async_callback(close_layer, layer)


async def close_layer(layer):
    # One that another task is reading, as a heartbeat's does, cannot be closed, and
    # need not: the middleware that has started the task cancels it.
    if hasattr(layer, "aclose") and not getattr(layer, "ag_running", False):
        try:
            await layer.aclose()
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():  # else it is the generator's own
                raise


async def nothing() -> AsyncIterator[bytes]:
    return
    yield  # never reached: it makes this a generator
