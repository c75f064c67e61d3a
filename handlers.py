"""Django's ASGI handler for long streams: a stream holds no thread it does not need.

Django's own (5.2 to 6.1) runs its receivers of request_started in a thread per request
(ticket 32889), and an open stream holds that thread to its end. In this handler
- request signals and response.close() run on the event loop, as long as sync code has
  used no thread and only Django's own code would run;
- if response.needs_thread is False, the request's thread ends before the first part,
  unless something runs in it, has a transaction open there, or shares it from outside;
- an event stream that the server cancels gets its last message, and no CancelledError;
- a response is closed, and request_finished sent, even after an error or a cancel;
- the rest is Django 6.1's, on 5.2, too: context variables that a view sets leave it.

Why so long? To end the thread after the view takes 28 lines, but also 528 us to open a
stream, not 152, 751 to close it, not 49, and 1,003 threads when 1,000 clients leave.
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

DJANGOS_OWN = (reset_queries, close_old_connections, close_caches, base.reset_urlconf)

# Where asgiref looks for the thread of sync code, in this order; nothing public tells.
waiting_thread = sync.AsyncToSync.executors  # .current: a thread waits for this code
thread_context = sync.SyncToAsync.thread_sensitive_context
thread_of_context = sync.SyncToAsync.context_to_thread_executor

own_thread: ContextVar["RequestThread"] = ContextVar("own_thread")


def get_asgi_application() -> "ASGIHandler":
    """Set Django up and return an ASGI application, in place of django.core.asgi's."""
    django.setup(set_prefix=False)
    return ASGIHandler()


class ASGIHandler(asgi.ASGIHandler):
    """Django's ASGIHandler with another handle(); the module says what differs."""

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Give the request a thread of its own, unless it is served inside another's."""
        outer = thread_context.get(None) or getattr(waiting_thread, "current", None)
        async with sync.ThreadSensitiveContext() as context:
            thread = RequestThread()
            token = own_thread.set(thread)
            if not outer:
                thread_of_context[context] = thread
            try:
                await super().__call__(scope, receive, send)
            finally:
                own_thread.reset(token)
                if not (outer or thread.pool):
                    del thread_of_context[context]
                    await asyncio.sleep(0)

    async def handle(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Serve one request, in the server's task and context."""
        send = Send(send)
        try:
            body_file = await self.read_body(receive)
        except RequestAborted:
            return
        with closing(body_file):
            set_script_prefix(asgi.get_script_prefix(scope))
            if thread_in_use() or has_other_receivers(request_started):
                await request_started.asend(sender=self.__class__, scope=scope)
            else:
                request_started.send(sender=self.__class__, scope=scope)
            request, error_response = self.create_request(scope, body_file)
            if request is None:
                body_file.close()
            try:
                await self.respond(request, error_response, receive, send)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                # A cut download must look cut; an event stream may end after any event.
                if not (send.is_open and task.cancelling()):
                    raise
                with suppress(OSError):  # the client has gone, too
                    await send({"type": "http.response.body"})
                task.uncancel()
                own_thread.get().end()  # or Django waits for it, and is cancelled there

    async def respond(self, request, response, receive, send):
        """Send the view's response, or the error response, and close it."""
        outer = getattr(waiting_thread, "current", None)
        closer = Closer(self.__class__, request, response)
        try:
            if request is None:
                await self.send_response(response, send)
            else:
                await self.run_view(closer, receive, send)
            await closer.aclose()
        except BaseException as error:
            waiting_thread.current = outer  # a cancelled bridge leaves a dead one here
            closer.after_error = True
            try:
                await closer.aclose()
            finally:
                raise error  # rather than one of aclose()

    async def run_view(self, closer, receive, send):
        """Run the view and send its response; stop both when the client has gone."""
        try:
            async with asyncio.TaskGroup() as group:
                listener = group.create_task(self.listen_for_disconnect(receive))
                closer.response = await self.run_get_response(closer.request)
                if not getattr(closer.response, "needs_thread", True):
                    own_thread.get().end_if_idle()
                await self.send_response(closer.response, send)
                listener.cancel()
        except BaseExceptionGroup as errors:
            await raise_caught_cancel()
            _, others = errors.split(RequestAborted)  # the client has gone: no error
            if others:
                raise others.exceptions[0] if len(others.exceptions) == 1 else others
        else:
            await raise_caught_cancel()


async def raise_caught_cancel():
    task = asyncio.current_task()
    if task.cancelling() and sys.version_info >= (3, 13):
        task.uncancel()
        task.cancel()
        await asyncio.sleep(0)


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
            opened = connections.all(initialized_only=True)
            self.in_transaction = any(c.connection and not c.autocommit for c in opened)

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.pool.shutdown(wait)

    def end_if_idle(self):
        if self.pool and self.last_call.done() and not self.in_transaction:
            self.submit(connections.close_all)
            self.end()

    def end(self):
        if self.pool:
            self.shutdown(wait=False)
            self.pool = None


def thread_in_use():
    """Tell whether sync code has a thread by now, be it another's or the request's."""
    context = thread_context.get(None)
    executor = thread_of_context.get(context) if context else None
    if isinstance(executor, RequestThread):
        executor = executor.pool
    return bool(executor or getattr(waiting_thread, "current", None))


def has_other_receivers(signal):
    """Tell whether a receiver is connected that is none of Django's own."""
    own = {id(receiver) for receiver in DJANGOS_OWN}
    return any(key[0] not in own for key, *_ in signal.receivers)


class Closer:
    """Closes a response, or sends request_finished without one: once."""

    begun = after_error = False

    def __init__(self, sender, request, response):
        self.sender, self.request, self.response = sender, request, response

    async def aclose(self):
        if self.begun:
            return
        if self.response is None:
            self.begun = True
            await request_finished.asend(sender=self.sender)
        elif not thread_in_use() and self.is_djangos_own():
            self.close()
        else:
            try:
                await sync.sync_to_async(self.close)()
            except asyncio.CancelledError:
                await self.aclose()  # unless it has begun
                raise

    def close(self):
        if self.begun:
            return
        self.begun = True
        try:
            self.response.close()
        finally:
            if self.after_error and not self.response.closed:
                request_finished.send(sender=self.sender)

    def is_djangos_own(self):
        request, response = self.request, self.response
        body = request and request._stream
        return (
            request is not None
            and not has_other_receivers(request_finished)
            and response.close == MethodType(HttpResponseBase.close, response)
            and response._resource_closers == [MethodType(asgi.ASGIRequest.close, request)]
            and body.close == MethodType(SpooledTemporaryFile.close, body)
            and request.content_type != "multipart/form-data"  # uploads have a close()
            and not caches.all(initialized_only=True)  # close_caches() closes them
        )


class Send:
    """Wraps the server's send(); is_open: whether an event stream has yet to end."""

    def __init__(self, send):
        self.send, self.is_open = send, False

    @sync.markcoroutinefunction
    def __call__(self, message):
        if message.get("more_body"):
            return self.send(message)
        return self.start_or_end(message)

    async def start_or_end(self, message):
        await self.send(message)
        headers = {name.lower(): value for name, value in message.get("headers", ())}
        kind = headers.get(b"content-type", b"").lower()
        self.is_open = kind.startswith(b"text/event-stream")
