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
from django.core.handlers import asgi
from django.core.signals import request_finished, request_started
from django.db import connections
from django.http.response import HttpResponse, HttpResponseBase

current_thread = ContextVar("current_thread")
CLOSING_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="closing")
to_bytes = HttpResponse(charset="utf-8").make_bytes


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
        async with RequestThread(self.__class__):
            try:
                await super().__call__(scope, receive, send)
            except Handled as handled:
                stream = handled.args
                # Free at once what handle() held, or a cycle keeps it for a while.
                handled.__traceback__ = handled.__context__ = None
            else:
                return
            if stream:
                await self.stream(*stream, receive, send)

    def create_request(self, scope, body_file):
        current_thread.get().starting = False
        return super().create_request(scope, body_file)

    async def run_get_response(self, request):
        response = await super().run_get_response(request)
        if response.streaming and response.is_async:
            current_thread.get().release()
            # Django 6.1 closes the body after handle(); the generator may read it.
            body = request._stream
            response._resource_closers.append(body.close)
            body.close = do_nothing
            raise Handled(response, copy_context())
        return response

    async def send_response(self, response, send):
        await super().send_response(response, send)
        if current_thread.get().close_at_once(response):
            raise Handled

    async def stream(self, response, context, receive, send):
        """Send a response until it ends, its client goes or the server cancels it."""
        response.handler_encodes = response.charset == "utf-8"  # see chunk_bytes()
        sending = asyncio.create_task(
            super().send_response(response, send), context=context
        )
        current_thread.get().receive_once(receive).add_done_callback(
            lambda disconnect: sending.cancel()
        )
        try:
            await sending
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():
                asyncio.current_task().uncancel()
                # An event stream may end anywhere; a download that is cut must look so.
                if response.get("Content-Type", "").startswith("text/event-stream"):
                    await send({"type": "http.response.body"})
        finally:
            # uvicorn cancels twice when it stops: its requests, then what is left.
            with suppress(asyncio.CancelledError):
                await current_thread.get().close(response)

    async def listen_for_disconnect(self, receive):
        message = current_thread.get().receive_once(receive)
        await super().listen_for_disconnect(lambda: asyncio.shield(message))

    @classmethod
    def chunk_bytes(cls, data):
        data = to_bytes(data)
        # Most parts fit into one message, and need no generator to be cut.
        if 0 < len(data) <= cls.chunk_size:
            return ((data, True),)
        return super().chunk_bytes(data)


class Handled(BaseException):
    """Leave handle(), with the stream that goes on without it, if there is one.

    No Exception: error trackers wrap Django's handler, and would report each.
    """


class RequestThread(ThreadSensitiveContext, Executor):
    """Run the sync code of one request in a thread that lasts no longer than needed.

    As under Django's handler, the views and middleware of a request share a thread with
    no other request. A stream that goes on gets a new one when it calls sync code; if
    it has none at its end, the event loop closes it, or one of CLOSING_THREADS.
    """

    starting = True
    own = None  # the thread, from when it is needed
    message = None

    def __init__(self, handler_class):
        super().__init__()
        self.handler_class = handler_class

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
        if self.message:
            self.message.cancel()
        await super().__aexit__(*exc_info)

    def receive_once(self, receive):
        """Return the task that waits for http.disconnect: the same in all of a request.

        handle() cancels its own wait, which gunicorn's ASGI worker takes for the end.
        """
        if self.message is None:
            self.message = asyncio.ensure_future(receive())
        return self.message

    def submit(self, fn, /, *args, **kwargs):
        if self.starting and self.only_django_listens(request_started):
            return nothing_to_do()
        if self.own is None:
            self.own = ThreadPoolExecutor(max_workers=1)
        return self.own.submit(fn, *args, **kwargs)

    def close_at_once(self, response):
        """Close a response here if none of the project's code runs then; tell if so."""
        is_plain = type(response).close is HttpResponseBase.close
        at_once = is_plain and self.only_django_listens(request_finished)
        if self.own or not at_once:
            return False
        response.close()
        return True

    async def close(self, response):
        """Close a response in the request's thread, or else in one of a few for all."""
        if self.own:
            await sync_to_async(response.close)()
        elif not self.close_at_once(response):
            close = sync_to_async(
                response.close, thread_sensitive=False, executor=CLOSING_THREADS
            )
            await close()

    def only_django_listens(self, signal):
        """Tell whether all receivers of a request signal are Django's own.

        They look after what the thread has opened: there is nothing without a thread.
        """
        sync_receivers, async_receivers = signal._live_receivers(self.handler_class)
        return not async_receivers and all(
            receiver.__module__.startswith("django.") for receiver in sync_receivers
        )

    def release(self):
        """Let the thread end; the last thing it does is to close its connections."""
        if self.own is not None:
            self.own.submit(connections.close_all)
            self.own.shutdown(wait=False)
            self.own = None


def nothing_to_do():
    future = Future()
    future.set_result([])
    return future


def do_nothing():
    pass
