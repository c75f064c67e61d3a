"""Django's ASGI handler for long streams: a stream holds no thread it does not need.

Before each view, Django's own handler (5.2 to 6.1) runs a little database clean-up in a
thread. It keeps that thread (ticket 32889), and the connections that the view opened in
it, until the response has ended. This handler differs in four points:
- It starts no thread where only Django's own receivers and closers would run.
- If response.needs_thread is False, the thread is told to end before the first part.
- It ends an event stream cleanly if it is cancelled, as by Ctrl-C in uvicorn.
- Whatever happens once the body is read (an error, a cancel, the client leaves), it
  closes the response or sends request_finished, and ends the thread and connections.
In all else handle() does what it does in Django 6.1, with the installed Django's hooks.
"""

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from contextvars import ContextVar

from asgiref.sync import AsyncToSync, SyncToAsync, sync_to_async
from django import db, setup
from django.core import cache
from django.core.exceptions import RequestAborted
from django.core.handlers import asgi, base
from django.core.signals import request_finished, request_started
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

# A list: a receiver's key is its id, or its dispatch_uid, which may be unhashable.
DJANGOS_IDS = [id(db.reset_queries), id(db.close_old_connections)]
DJANGOS_IDS += [id(cache.close_caches), id(base.reset_urlconf)]
DJANGOS_CLOSERS = HttpResponseBase.close, asgi.ASGIRequest.close, cache.BaseCache.close
# asgiref has no public way to ask for the thread of a request's sync code.
thread_context = SyncToAsync.thread_sensitive_context
thread_executors = SyncToAsync.context_to_thread_executor
owns_thread = ContextVar("owns_thread", default=False)


def get_asgi_application() -> "ASGIHandler":
    """Set Django up and return an ASGI application, in place of django.core.asgi's."""
    setup(set_prefix=False)
    return ASGIHandler()


class ASGIHandler(asgi.ASGIHandler):
    """Django's ASGIHandler with another handle(); the module says what differs."""

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Serve one request, whose thread is its own unless outer code has one."""
        token = owns_thread.set(thread_context.get(None) is None)
        try:
            await super().__call__(scope, receive, send)
        finally:
            owns_thread.reset(token)  # a view may have called this for another request

    async def handle(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Read the body, run the view, send its response, and close it."""
        try:
            body_file = await self.read_body(receive)
        except RequestAborted:
            return
        outer_executor = getattr(AsyncToSync.executors, "current", None)
        response = unsent = None
        with closing(body_file):
            set_script_prefix(asgi.get_script_prefix(scope))
            try:
                await self._tell(request_started, scope=scope)
                request, response = self.create_request(scope, body_file)
                if request is None:  # it could not be read, as the response says
                    return await self.send_response(response, send)
                async with asyncio.TaskGroup() as group:
                    listener = group.create_task(self.listen_for_disconnect(receive))
                    response = unsent = await self.run_get_response(request)
                    if not getattr(response, "needs_thread", True):
                        await end_thread(wait=False)
                    await self.send_response(response, send)
                    unsent = None
                    listener.cancel()
            except BaseExceptionGroup as raised:
                _, errors = raised.split(RequestAborted)  # the client has left
                if errors:  # one as itself; "from" would hide its cause
                    raise errors if len(errors.exceptions) > 1 else errors.exceptions[0]
            except asyncio.CancelledError:
                if not await end_event_stream(unsent, send):
                    raise
            finally:
                # A cancel can leave a sync middleware's executor here, which has ended.
                AsyncToSync.executors.current = outer_executor
                await self._finish(response)

    async def _finish(self, response):
        """Close the response, which sends request_finished, and end the thread."""
        try:
            if response is None:
                await self._tell(request_finished)
            elif must_run_in_thread(request_finished, response):
                await sync_to_async(response.close)()
            else:
                response.close()
        finally:
            await end_thread()

    async def _tell(self, signal, **named):
        """Send a signal, in a thread only if one is needed."""
        if must_run_in_thread(signal):
            await signal.asend(sender=self.__class__, **named)
        else:
            signal.send(sender=self.__class__, **named)


async def end_event_stream(response, send):
    """End a cancelled event stream cleanly; return False if it is something else."""
    task = asyncio.current_task()
    kind = response.get("Content-Type", "") if response and response.streaming else ""
    if not (kind.startswith("text/event-stream") and task.cancelling()):
        return False  # or a download that was cut would look whole
    task.uncancel()  # or an outer task group takes it for its own
    with suppress(Exception):  # the client has left, or reads no more
        async with asyncio.timeout(1):
            await send({"type": "http.response.body"})
    return True


def must_run_in_thread(signal, response=None):
    """Return whether there is a thread to clean up, or code that is not Django's."""
    context = thread_context.get(None)
    closers = [] if response is None else [response.close, *response._resource_closers]
    if signal is request_finished:
        closers += [used.close for used in cache.caches.all(initialized_only=True)]
    return (
        context is None  # sync code runs in one thread for all requests
        or context in thread_executors
        or getattr(AsyncToSync.executors, "current", None)  # under async_to_sync
        or any(key[0] not in DJANGOS_IDS for key, *_ in signal.receivers)
        or not all(map(is_djangos, closers))
    )


def is_djangos(closer):
    """Return whether a closer is Django's own, and closes no uploaded file."""
    is_own = getattr(closer, "__func__", None) in DJANGOS_CLOSERS
    return is_own and not getattr(closer.__self__, "_files", None)


async def end_thread(wait=True):
    """Let the request's own thread, if it has one, close its connections and end."""
    context = thread_context.get(None)
    if owns_thread.get() and context in thread_executors:
        executor = thread_executors.pop(context)
        closed = executor.submit(db.connections.close_all)
        executor.shutdown(wait=False)
        if wait:  # as Django does; a cancel ends the wait, but not the work
            await asyncio.shield(asyncio.wrap_future(closed))
