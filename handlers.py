"""Django's ASGI handler for long streams: an open stream holds no thread.

A drop-in for django.core.handlers.asgi.ASGIHandler, for Django 5.2 to 6.1:

    from handlers import get_asgi_application

    application = get_asgi_application()
"""

import asyncio
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar, copy_context

import django
from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.core.exceptions import RequestAborted
from django.core.handlers import asgi
from django.core.signals import request_started
from django.db import connections

current_thread = ContextVar("current_thread")
closing_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="closing")


def get_asgi_application(request_class=asgi.ASGIRequest):
    """Set Django up and return an ASGI application, as django.core.asgi does."""
    django.setup(set_prefix=False)
    application = ASGIHandler()
    application.request_class = request_class
    return application


class ASGIHandler(asgi.ASGIHandler):
    """Django's ASGIHandler, but an async stream goes on after handle() and its thread.

    Django's own waits in handle() for the end of the stream, and keeps the thread that
    ran the receivers of request_started: one thread for every open stream.
    """

    async def __call__(self, scope, receive, send):
        async with RequestThread():
            try:
                await super().__call__(scope, receive, send)
            except StreamReady as ready:
                stream = ready.args
                # Free at once what handle() held, or a cycle keeps it for a while.
                ready.__traceback__ = ready.__context__ = None
            else:
                return
            await self.stream(*stream, receive, send)

    async def run_get_response(self, request):
        thread = current_thread.get()
        thread.phase = "view"
        response = await super().run_get_response(request)
        if response.streaming and response.is_async:
            thread.release()
            # Django 6.1 closes the body after handle(); the generator may read it yet.
            body = request._stream
            response._resource_closers.append(body.close)
            body.close = lambda: None
            raise StreamReady(response, copy_context())
        return response

    async def send_response(self, response, send):
        await super().send_response(response, send)
        current_thread.get().phase = "close"

    async def stream(self, response, context, receive, send):
        """Send a response until it ends, its client goes or the server cancels it."""
        sending = asyncio.create_task(
            super().send_response(response, send), context=context
        )
        listening = asyncio.create_task(self.cancel_on_disconnect(sending, receive))
        try:
            await sending
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():
                asyncio.current_task().uncancel()
                await send({"type": "http.response.body"})
        finally:
            listening.cancel()
            current_thread.get().phase = "close"
            # A server that stops cancels twice: its requests, then all that is left.
            with suppress(asyncio.CancelledError):
                await sync_to_async(response.close)()

    async def cancel_on_disconnect(self, sending, receive):
        """Cancel a task as soon as the client has gone."""
        try:
            await self.listen_for_disconnect(receive)
        except RequestAborted:
            sending.cancel()

    @classmethod
    def chunk_bytes(cls, data):
        # An event fits into one message, and needs no generator to be cut.
        if 0 < len(data) <= cls.chunk_size:
            return ((data, True),)
        return super().chunk_bytes(data)


class StreamReady(Exception):
    """Leave handle(): the view has returned an async stream."""


class RequestThread(ThreadSensitiveContext, Executor):
    """Run the sync code of one request in a thread that lasts no longer than needed.

    As under Django's handler, all of it runs in the same thread, and in no other
    request's. But Django's own receivers alone don't start a thread, a stream doesn't
    keep one, and what remains to be closed without one is closed by a few for all.
    """

    phase = "start"
    executor = None

    async def __aenter__(self):
        await super().__aenter__()
        # asgiref 3.13 takes an executor, too, but then refuses the calls of tasks that
        # a view started and that outlive its request.
        SyncToAsync.context_to_thread_executor[self] = self
        self.reset = current_thread.set(self)

    async def __aexit__(self, *exc_info):
        current_thread.reset(self.reset)
        del SyncToAsync.context_to_thread_executor[self]
        self.release()
        await super().__aexit__(*exc_info)

    def submit(self, fn, /, *args, **kwargs):
        if self.executor is None and self.phase == "start" and only_django_listens():
            nothing = Future()
            nothing.set_result([])
            return nothing
        if self.executor is None and self.phase == "close":
            return closing_threads.submit(fn, *args, **kwargs)
        if self.executor is None:
            self.executor = ThreadPoolExecutor(max_workers=1)
        return self.executor.submit(fn, *args, **kwargs)

    def release(self):
        """Let the thread end; the last thing it does is to close its connections."""
        if self.executor is not None:
            self.executor.submit(connections.close_all)
            self.executor.shutdown(wait=False)
            self.executor = None


def only_django_listens():
    """Tell whether request_started has no sync receivers but Django's own.

    They look after the database connections of their thread: a new one has none.
    """
    receivers, _ = request_started._live_receivers(ASGIHandler)
    return all(receiver.__module__.startswith("django.") for receiver in receivers)
