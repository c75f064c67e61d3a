"""Django's ASGI handler for long streams: a stream holds no thread it does not need.

Django's own (5.2 to 6.1) runs its receivers of request_started in a thread per request
(ticket 32889), and an open stream holds that thread to its end. In this handler
- request signals and response.close() run on the event loop, as long as the request has
  used no thread and only Django's own code would run;
- if response.needs_thread is False, the request's thread ends before the first part,
  unless a call or a transaction in it has yet to end, or outer code shares it;
- an event stream that the server's cancel would cut gets its last message instead;
- once there is a response, it is closed, and request_finished sent, even after an error
  or a cancel, which is then raised, and not an error of the close;
- if the client leaves under sync middleware, closing waits until that has returned;
- the rest is as in Django 6.1, under 5.2, too: outer code sees the view's contextvars.
Why not 28 lines that end the thread after the view? They start one for each stream:
about four times the CPU to open it, and 1,003 threads when 1,000 clients leave.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import ContextVar
from io import BytesIO
from tempfile import SpooledTemporaryFile
from types import MethodType

import django
from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext, sync_to_async
from django import db
from django.core import cache
from django.core.exceptions import RequestAborted
from django.core.handlers import asgi, base
from django.core.signals import request_finished, request_started
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

OWN = db.reset_queries, db.close_old_connections, cache.close_caches, base.reset_urlconf
OWN_IDS = {id(receiver) for receiver in OWN}  # as in the keys of Django's signals
BODY_CLOSERS = SpooledTemporaryFile.close, BytesIO.close  # the latter's has been read
# Where asgiref looks for the thread of sync code, in this order; nothing public tells.
waiting_thread = AsyncToSync.executors  # .current: one that waits for this code
thread_context = SyncToAsync.thread_sensitive_context
thread_of_context = SyncToAsync.context_to_thread_executor


def get_asgi_application() -> "ASGIHandler":
    """Set Django up and return an ASGI application, in place of django.core.asgi's."""
    django.setup(set_prefix=False)
    return ASGIHandler()


class ASGIHandler(asgi.ASGIHandler):
    """Django's ASGIHandler with another handle(); the module says what differs."""

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Give the request a thread of its own, unless outer code shares its own."""
        async with ThreadSensitiveContext() as context:
            thread, waiting = RequestThread(), getattr(waiting_thread, "current", None)
            if not waiting:
                thread_of_context.setdefault(thread_context.get(), thread)
            own = context.token and not waiting
            request_thread.set(thread if own else no_thread)
            await super().__call__(scope, receive, send)
            if own and not thread.pool:  # or asgiref would start one to wait for it
                del thread_of_context[context]

    async def handle(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Serve one request, in the server's task and context."""
        thread = request_thread.get()
        request_thread.set(no_thread)  # what the view calls shares it
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
            send = Send(send, thread)
            try:
                await self._respond(request, error_response, receive, send)
            except asyncio.CancelledError:
                if not await send.ended_in_order():
                    raise

    async def _respond(self, request, response, receive, send):
        """Send the view's response, or the error response; then close it."""
        outer, begun = getattr(waiting_thread, "current", None), []
        try:
            try:
                async with asyncio.TaskGroup() as group:
                    if request is not None:
                        group.create_task(self.listen_for_disconnect(receive))
                        response = await self.run_get_response(request)
                        if not getattr(response, "needs_thread", True):
                            send.thread.end_if_idle()
                    await self.send_response(response, send)
                    raise ResponseSent
            except* (ResponseSent, RequestAborted):
                pass
            finally:
                waiting_thread.current = outer  # a cancel may leave one that ends
            await self._close(request, response, begun)
        except BaseException as error:
            if not begun:
                if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
                    error = error.exceptions[0]
                await self._close(request, response, begun, error)
            raise error

    async def _close(self, request, response, begun, error=None):
        """Close the response, and send request_finished; begun is empty until then."""
        if closes_here(request, response):
            close_once(response, begun, error)
            closed = asyncio.sleep(0)  # for a cancel that TaskGroup has put off
        elif response is None:
            begun.append(True)
            closed = request_finished.asend(sender=self.__class__)
        else:
            closed = sync_to_async(close_once)(response, begun, error)
        await (close_after(error, closed) if error else closed)


class ResponseSent(Exception):
    """Ends the task group of a request, as Python's documentation shows."""


async def close_after(error, closed):
    """Let it run to its end, and raise nothing; a cancel comes after the error."""
    try:
        await asyncio.shield(closed)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task.cancelling() and not isinstance(error, asyncio.CancelledError):
            task.uncancel()
            task.cancel()
    except BaseException:
        pass


class RequestThread(Executor):
    """The thread of a request's sync code; the first call starts it."""

    def __init__(self):
        self.pool, self.calls, self.in_transaction = None, set(), False

    def submit(self, function, /, *args, **kwargs):
        self.pool = self.pool or ThreadPoolExecutor(max_workers=1)
        call = self.pool.submit(self.run, function, args, kwargs)
        self.calls.add(call)
        call.add_done_callback(self.calls.discard)
        return call

    def run(self, function, args, kwargs):
        try:
            return function(*args, **kwargs)
        finally:
            used = db.connections.all(initialized_only=True)
            self.in_transaction = any(c.connection and not c.autocommit for c in used)

    def end_if_idle(self):
        if self.pool and not (self.calls or self.in_transaction):
            self.submit(db.connections.close_all)
            self.shutdown(wait=False)

    def shutdown(self, wait=True):
        if self.pool:
            self.pool.shutdown(wait)
            self.pool = None


no_thread = RequestThread()  # stands for one that is not the request's own
request_thread = ContextVar("request_thread", default=no_thread)


def only_django_receives(signal):
    """Tell whether sync code has no thread yet, and all receivers are Django's own."""
    context = thread_context.get(None)
    thread = context and thread_of_context.get(context)
    if getattr(thread, "pool", thread) or getattr(waiting_thread, "current", None):
        return False
    return all(key[0] in OWN_IDS for key, *_ in signal.receivers)


def closes_here(request, response):
    """Tell whether sync code has no thread yet, and only Django's own would close."""
    if None in (request, response) or not only_django_receives(request_finished):
        return False
    closers, body_file = response._resource_closers, getattr(request, "_stream", None)
    return (
        response.close == MethodType(HttpResponseBase.close, response)
        and closers == [MethodType(asgi.ASGIRequest.close, request)]
        and getattr(type(body_file), "close", None) in BODY_CLOSERS
        and "close" not in vars(body_file)
        and not getattr(request, "_files", None)  # uploads have a close()
        and not cache.caches.all(initialized_only=True)  # close_caches() closes them
    )


def close_once(response, begun, error):
    if not begun:  # else a cancelled call was taken out of the queue too late
        begun.append(True)
        try:
            response.close()
        finally:
            if error and not response.closed:  # a closer was cancelled
                request_finished.send(sender=response._handler_class)


class Send:
    """Wraps send(); is_open: whether an event stream still lacks its last message."""

    is_open = False

    def __init__(self, send, thread):
        self.send, self.thread = send, thread

    async def __call__(self, message):
        self.is_open = self.is_open and message.get("more_body", False)
        await self.send(message)
        if "headers" in message:
            headers = {name.lower(): value for name, value in message["headers"]}
            kind = headers.get(b"content-type", b"").lower()
            self.is_open = kind.startswith(b"text/event-stream")

    async def ended_in_order(self):
        """End an event stream that the server cancels; tell whether it was one."""
        # A cut download must look cut; an event stream may end after any event.
        task = asyncio.current_task()
        if not (self.is_open and task.cancelling()):
            return False
        with suppress(OSError):  # the client has gone, too
            await self.send({"type": "http.response.body"})
        task.uncancel()
        # A call in the thread goes on. uvicorn would cancel us if we waited for it.
        self.thread.shutdown(wait=False)
        return True
