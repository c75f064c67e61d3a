"""A StreamingHttpResponse for async generators alone.

In an async view:

    return AsyncStreamingHttpResponse(events(), content_type="text/event-stream")
"""

from inspect import isasyncgen

from django.http import StreamingHttpResponse


class AsyncStreamingHttpResponse(StreamingHttpResponse):
    """Stream an async iterator, and close it as soon as the response ends.

    Raises TypeError for a sync iterator and when it is served over WSGI. Django's own
    StreamingHttpResponse takes both (since 4.2): it warns, and then sends nothing
    before the iterator has ended.
    """

    # A handler that encodes str parts itself sets this: one step less for every part.
    handler_encodes = False
    _iterators = ()

    def _set_streaming_content(self, value):
        if not hasattr(value, "__aiter__"):
            raise TypeError(
                f"{type(self).__name__} streams async iterators, not "
                f"{type(value).__name__}: use an async generator (async def, yield), "
                "or django.http.StreamingHttpResponse under WSGI."
            )
        super()._set_streaming_content(aiter(value))
        # Middleware may wrap the content and set it again: the last set is outermost.
        self._iterators = (self._iterator, *self._iterators)

    def __iter__(self):
        raise TypeError(
            f"{type(self).__name__} cannot be served over WSGI: serve it over ASGI "
            "(uvicorn), or use django.http.StreamingHttpResponse with a sync generator."
        )

    # Django's __aiter__ would put two more async generators between the
    # server and the view's, and leave the view's open when they are closed.
    def __aiter__(self):
        unwrapped = len(self._iterators) == 1 and isasyncgen(self._iterator)
        if self.handler_encodes and unwrapped:
            return self._iterator
        self.charset = self.charset  # looked up once, not for every part
        return self

    async def __anext__(self):
        return self.make_bytes(await anext(self._iterator))

    async def aclose(self):
        """Close the view's iterator; the ASGI handler calls this on any end."""
        for iterator in self._iterators:
            if hasattr(iterator, "aclose"):
                await iterator.aclose()
