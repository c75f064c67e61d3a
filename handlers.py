"""Django's ASGI handler for long streams: a stream holds no thread it does not need.

Django's own (5.2 to 6.1) runs its receivers of request_started in a thread per request
(ticket 32889), and an open stream holds that thread to its end. In this handler
- request signals and response.close() run on the event loop, as long as the request has
  used no thread and only Django's own code would run;
- if response.needs_thread is False, the request's thread ends before the first part,
  unless a call or a transaction in it has yet to end, or outer code shares it;
- an event stream that the server cancels gets its last message, and no CancelledError;
- a response is closed, and request_finished sent, even after an error or a cancel,
  which is then raised, and not an error of the close;
- the rest is as in Django 6.1, under 5.2, too: context variables leave the view.
Why not 28 lines that end the thread after the view? They start one for each stream:
about three times the CPU to open it, and 1,003 threads when 1,000 clients leave.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import ContextVar
from tempfile import SpooledTemporaryFile
from types import MethodType

import django
from asgiref import sync
from django.core.cache import caches, close_caches
from django.core.exceptions import RequestAborted
from django.core.handlers import asgi, base
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections, reset_queries
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

OWN = (reset_queries, close_old_connections, close_caches, base.reset_urlconf)
OWN_IDS = {id(receiver) for receiver in OWN}  # as in the keys of Django's signals
# Where asgiref looks for the thread of sync code, in this order; nothing public tells.
waiting_thread = sync.AsyncToSync.executors  # .current: one that waits for this code
thread_context = sync.SyncToAsync.thread_sensitive_context
thread_of_context = sync.SyncToAsync.context_to_thread_executor

request_thread: ContextVar["RequestThread"] = ContextVar("request_thread")


def get_asgi_application() -> "ASGIHandler":
    """Set Django up and return an ASGI application, in place of django.core.asgi's."""
    django.setup(set_prefix=False)
    return ASGIHandler()


class ASGIHandler(asgi.ASGIHandler):
    """Django's ASGIHandler with another handle(); the module says what differs."""

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Give the request a thread of its own, unless outer code has one for it."""
        outer = thread_context.get(None) or getattr(waiting_thread, "current", None)
        async with sync.ThreadSensitiveContext() as context:
            thread = RequestThread()
            token = request_thread.set(thread)
            if not outer:
                thread_of_context[context] = thread
            try:
                await super().__call__(scope, receive, send)
            except Exception:
                if not outer:  # where Django waits for its thread, a cancel comes first
                    await asyncio.sleep(0)
                raise
            finally:
                request_thread.reset(token)
                if not (outer or thread.pool):
                    del thread_of_context[context]

    async def handle(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Serve one request, in the server's task and context."""
        send = Send(send)
        try:
            body_file = await self.read_body(receive)
        except RequestAborted:
            return
        with closing(body_file):
            set_script_prefix(asgi.get_script_prefix(scope))
            if only_django_receives(request_started):
                request_started.send(sender=self.__class__, scope=scope)
            else:
                await request_started.asend(sender=self.__class__, scope=scope)
            request, error_response = self.create_request(scope, body_file)
            if request is None:
                body_file.close()
            try:
                await self.respond(request, error_response, receive, send)
            except asyncio.CancelledError:
                # A cut download must look cut; an event stream may end after any event.
                if not (send.is_open and cancelling()):
                    raise
                await send.end_event_stream()

    async def respond(self, request, response, receive, send):
        """Send the view's response, or the error response; then close it."""
        outer, error = getattr(waiting_thread, "current", None), None
        try:
            async with asyncio.TaskGroup() as group:
                if request is not None:
                    listener = group.create_task(self.listen_for_disconnect(receive))
                    response = await self.run_get_response(request)
                    if not getattr(response, "needs_thread", True):
                        request_thread.get().end_if_idle()
                await self.send_response(response, send)
                if request is not None:
                    listener.cancel()
        except BaseExceptionGroup as errors:
            _, error = errors.split(RequestAborted)  # the client has gone: no error
            if error and len(error.exceptions) == 1:
                error = error.exceptions[0]
        except BaseException as cancel:
            error = cancel
        if not error and cancelling() and sys.version_info >= (3, 13):
            error = await caught_cancel()
        bridge = getattr(waiting_thread, "current", None)
        if error or getattr(bridge, "_broken", False):
            # A bridge (async_to_sync) that was cancelled leaves one that has ended.
            waiting_thread.current = outer
        await self.finish(request, response, error)

    async def finish(self, request, response, error):
        """Close the response; then raise the error, rather than one of closing."""
        try:
            if closes_here(request, response):
                response.close()
            elif response is None:
                await request_finished.asend(sender=self.__class__)
            elif error:  # the next cancel must not take it out of the thread's queue
                await asyncio.shield(sync.sync_to_async(close_at_last)(response))
            else:
                await sync.sync_to_async(response.close)()
        finally:
            if error:
                raise error


class RequestThread(Executor):
    """Runs the sync code of one request, in a thread that the first call starts."""

    pool = last_call = None
    in_transaction = False

    def submit(self, function, /, *args, **kwargs):
        self.pool = self.pool or ThreadPoolExecutor(max_workers=1)
        self.last_call = self.pool.submit(self.run, function, args, kwargs)
        return self.last_call

    def run(self, function, args, kwargs):
        try:
            return function(*args, **kwargs)
        finally:
            used = connections.all(initialized_only=True)
            self.in_transaction = any(c.connection and not c.autocommit for c in used)

    def end_if_idle(self):
        if self.pool and self.last_call.done() and not self.in_transaction:
            self.submit(connections.close_all)
            self.shutdown(wait=False)

    def shutdown(self, wait=True, *, cancel_futures=False):
        if self.pool:
            self.pool.shutdown(wait)
            self.pool = None


def only_django_receives(signal):
    """Tell whether sync code has no thread yet, and all receivers are Django's own."""
    context = thread_context.get(None)
    thread = context and thread_of_context.get(context)
    in_use = thread.pool if isinstance(thread, RequestThread) else thread
    if in_use or getattr(waiting_thread, "current", None):
        return False
    return all(key[0] in OWN_IDS for key, *_ in signal.receivers)


def closes_here(request, response):
    """Tell whether sync code has no thread yet, and only Django's own would close."""
    if None in (request, response) or not only_django_receives(request_finished):
        return False
    closers, body_file = response._resource_closers, request._stream
    return (
        response.close == MethodType(HttpResponseBase.close, response)
        and closers == [MethodType(asgi.ASGIRequest.close, request)]
        and body_file.close == MethodType(SpooledTemporaryFile.close, body_file)
        and request.content_type != "multipart/form-data"  # uploads have a close()
        and not caches.all(initialized_only=True)  # close_caches() closes them
    )


def close_at_last(response):
    """Close it, and send request_finished even if that is cancelled by a closer."""
    try:
        response.close()
    finally:
        if not response.closed:
            request_finished.send(sender=response._handler_class)


def cancelling():
    return asyncio.current_task().cancelling()


async def caught_cancel():
    """Return the cancel that a view has caught, or that TaskGroup has put off."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    return asyncio.CancelledError()


class Send:
    """Wraps the server's send(); is_open: whether an event stream has yet to end."""

    def __init__(self, send):
        self.send, self.is_open = send, False

    @sync.markcoroutinefunction  # it returns a coroutine, but adds none for a part
    def __call__(self, message):
        if message["type"] == "http.response.start":
            return self.start(message)
        self.is_open = self.is_open and message.get("more_body", False)
        return self.send(message)

    async def start(self, message):
        await self.send(message)
        headers = {name.lower(): value for name, value in message.get("headers", ())}
        kind = headers.get(b"content-type", b"").lower()
        self.is_open = kind.startswith(b"text/event-stream")

    async def end_event_stream(self):
        with suppress(OSError):  # the client has gone, too
            await self.send({"type": "http.response.body"})
        asyncio.current_task().uncancel()
        # Django would wait for the thread, and uvicorn cancels whoever still waits.
        request_thread.get().shutdown(wait=False)
