"""Django's ASGI handler for long streams: no thread for each, an orderly end for all.

Drop-in for django.core.handlers.asgi.ASGIHandler, Django 5.2 to 6.1:

    from handlers import get_asgi_application

    application = get_asgi_application()
"""

import asyncio
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar

import django
from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.core.handlers import asgi
from django.db import connections

# Every request sends two signals, and Django's own receivers are sync.
signal_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="signals")
current_request = ContextVar("current_request")


def get_asgi_application(request_class=asgi.ASGIRequest):
    """Set Django up and return an ASGI application, as django.core.asgi does."""
    django.setup(set_prefix=False)
    application = ASGIHandler()
    application.request_class = request_class
    return application


class ASGIHandler(asgi.ASGIHandler):
    """Django's ASGIHandler, but an open async stream holds no thread."""

    async def __call__(self, scope, receive, send):
        async with RequestContext() as request:
            try:
                await super().__call__(scope, receive, send)
            except asyncio.CancelledError:
                tasks = request.cancel_tasks()
                if request.stream is None:
                    raise
                asyncio.current_task().uncancel()
                # A server that stops cancels twice: the request, then all that is left.
                with suppress(asyncio.CancelledError):
                    await end_stream(request.stream, send, tasks)

    async def listen_for_disconnect(self, receive):
        current_request.get().tasks.add(asyncio.current_task())
        await super().listen_for_disconnect(receive)

    async def run_get_response(self, request):
        context = current_request.get()
        context.tasks.add(asyncio.current_task())
        context.executor.in_view = True
        return await super().run_get_response(request)

    async def send_response(self, response, send):
        context = current_request.get()
        is_stream = response.streaming and response.is_async
        if is_stream:
            context.stream = response
            context.executor.release()
        await super().send_response(response, send)
        context.stream = None
        context.executor.in_view = False

    @classmethod
    def chunk_bytes(cls, data):
        # Most events fit into one message: no generator for those.
        if 0 < len(data) <= cls.chunk_size:
            return ((data, True),)
        return super().chunk_bytes(data)


async def end_stream(response, send, tasks):
    """Tell the server that the body ends here, and Django that the request does."""
    with suppress(OSError):  # the client may be gone already
        await send({"type": "http.response.body"})
    await asyncio.gather(*tasks, return_exceptions=True)
    await sync_to_async(response.close)()


class RequestContext(ThreadSensitiveContext):
    """What one request holds: the executor of its sync code, its tasks, its stream."""

    async def __aenter__(self):
        await super().__aenter__()
        self.executor = RequestExecutor()
        self.tasks = set()
        self.stream = None
        self.reset = current_request.set(self)
        SyncToAsync.context_to_thread_executor[self] = self.executor
        return self

    async def __aexit__(self, *exc_info):
        # Ours to end: asgiref would start one more thread to wait for it.
        del SyncToAsync.context_to_thread_executor[self]
        self.executor.release()
        current_request.reset(self.reset)
        await super().__aexit__(*exc_info)

    def cancel_tasks(self):
        """Cancel the tasks that Django 5.2 leaves running when handle() is cancelled."""
        tasks = self.tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        return tasks


class RequestExecutor(Executor):
    """Run a request's sync code: the view's in a thread of its own, started when needed,
    and until there is one the signals' in shared threads."""

    own = None
    in_view = False

    def submit(self, fn, /, *args, **kwargs):
        if self.in_view and self.own is None:
            self.own = ThreadPoolExecutor(max_workers=1)
        return (self.own or signal_threads).submit(fn, *args, **kwargs)

    def release(self):
        """Let the thread go; the last thing it does is to close its connections."""
        if self.own is not None:
            self.own.submit(connections.close_all)
            self.own.shutdown(wait=False)
            self.own = None
