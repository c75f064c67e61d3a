"""A StreamingHttpResponse for async generators alone. In an async view:

return AsyncStreamingHttpResponse(events(), content_type="text/event-stream")
"""

from collections.abc import AsyncIterator
from typing import NoReturn

from django.http import StreamingHttpResponse


class AsyncStreamingHttpResponse(StreamingHttpResponse):
    """Stream an async iterable, and close it as soon as the response ends.

    Raises TypeError for a sync iterable and over WSGI, where Django's own (since 4.2)
    collects everything before it sends anything.

    handlers.ASGIHandler ends the request's thread, and closes its connections, before
    the first part. So what a sync middleware or view has left there (a tenant, a
    thread-local, an open transaction) is not there in the generator. A generator that
    calls sync code gets a new thread, and holds it to the end.
    """

    needs_thread = False  # True keeps the thread

    def _set_streaming_content(self, value):
        if value == []:  # from Django's test client, for HEAD and for a 204
            value = nothing()
        if not hasattr(value, "__aiter__"):
            what = f"{type(self).__name__} cannot stream {type(value).__name__}"
            raise TypeError(f"{what}: use an async generator (async def, yield)")
        super()._set_streaming_content(value)
        # Middleware may wrap the content and set it again: the last set is outermost.
        self.contents = [value, *getattr(self, "contents", [])]

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} needs ASGI: serve it with uvicorn")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.charset = self.charset  # looked up once, not for every part
        try:
            async for part in self._iterator:
                yield self.make_bytes(part)
        finally:
            for content in self.contents:
                # One that a middleware's task still reads ends with that task.
                if hasattr(content, "aclose") and not getattr(content, "ag_running", 0):
                    await content.aclose()


async def nothing() -> AsyncIterator[bytes]:
    return
    yield
