"""Django's ASGI handler for long streams: a stream holds no thread it does not need.

Before each view, Django's own (5.2 to 6.1) runs a little database clean-up in a thread
(ticket 32889). It keeps that thread, and the connections that the view opened in it,
until the response has ended. This one differs in three points:
- It starts no thread where Django's own receivers and closers have nothing to do.
- It lets go of both before the first part is sent, if response.needs_thread is False.
- An event stream that the server cancels, as uvicorn does at Ctrl-C, ends in order.
The rest is as in Django 6.1, under 5.2, too.
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

OWN = db.reset_queries, db.close_old_connections, cache.close_caches, base.reset_urlconf
OWN_IDS = {id(receiver) for receiver in OWN}  # as in the keys of Django's signals
OWN_CLOSERS = HttpResponseBase.close, asgi.ASGIRequest.close
# Where asgiref looks for the thread of sync code; nothing public tells.
thread_context = SyncToAsync.thread_sensitive_context
thread_of_context = SyncToAsync.context_to_thread_executor
shares_thread = ContextVar("shares_thread", default=True)  # with outer code


def get_asgi_application() -> "ASGIHandler":
    """Set Django up and return an ASGI application, in place of django.core.asgi's."""
    setup(set_prefix=False)
    return ASGIHandler()


class ASGIHandler(asgi.ASGIHandler):
    """Django's ASGIHandler with another handle(); the module says what differs."""

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Serve one request; note whether its thread would be one of its own."""
        token = shares_thread.set(thread_context.get(None) is not None)
        try:
            await super().__call__(scope, receive, send)
        finally:
            shares_thread.reset(token)  # a view may have called this for another one

    async def handle(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Read the body, run the view, send its response, and close that."""
        try:
            body_file = await self.read_body(receive)
        except RequestAborted:
            return
        with closing(body_file):
            set_script_prefix(asgi.get_script_prefix(scope))
            await self._tell(request_started, scope=scope)
            request, response = self.create_request(scope, body_file)
            if request is None:  # it could not be read, as the response says
                await self.send_response(response, send)
            else:
                response = await self._respond(request, receive, send)
            if response is None:
                await self._tell(request_finished)
            elif closing_needs_thread(response):
                await sync_to_async(response.close)()
            else:
                response.close()

    async def _respond(self, request, receive, send):
        """Run the view and send its response; None if the client has left before."""
        response, is_stream = None, False
        try:
            async with asyncio.TaskGroup() as group:
                listener = group.create_task(self.listen_for_disconnect(receive))
                response = await self.run_get_response(request)
                if not getattr(response, "needs_thread", True):
                    end_thread()
                kind = response.get("Content-Type", "")
                is_stream = response.streaming and kind.startswith("text/event-stream")
                await self.send_response(response, send)
                is_stream = False
                listener.cancel()
        except BaseExceptionGroup as raised:
            _, errors = raised.split(RequestAborted)  # the client has left
            if errors:  # a single one as itself; "from" would replace its cause
                raise errors.exceptions[0] if len(errors.exceptions) == 1 else errors
        except asyncio.CancelledError:
            # A cut download must look cut; an event stream may end after any event.
            if not (is_stream and asyncio.current_task().cancelling()):
                raise
            with suppress(OSError):  # it has left, or (TimeoutError) reads no more
                async with asyncio.timeout(1):
                    await send({"type": "http.response.body"})
            asyncio.current_task().uncancel()
        return response

    async def _tell(self, signal, **named):
        """Send a signal, in a thread only if one is needed."""
        if sending_needs_thread(signal):
            await signal.asend(sender=self.__class__, **named)
        else:
            signal.send(sender=self.__class__, **named)


def sending_needs_thread(signal):
    """Tell whether Django's receivers have something to do, or others listen."""
    context = thread_context.get(None)
    return (
        context is None  # sync code runs in asgiref's one thread for all
        or context in thread_of_context
        or getattr(AsyncToSync.executors, "current", None)  # sync code waits for us
        or cache.caches.all(initialized_only=True)
        or any(key[0] not in OWN_IDS for key, *_ in signal.receivers)
    )


def closing_needs_thread(response):
    """Tell whether closing the response may call code that is not Django's own."""
    closers = [response.close, *response._resource_closers]
    return sending_needs_thread(request_finished) or any(
        getattr(closer, "__func__", None) not in OWN_CLOSERS for closer in closers
    )


def end_thread():
    """End the thread of the request's sync code, unless outer code shares it."""
    context = thread_context.get(None)
    if context in thread_of_context and not shares_thread.get():
        thread = thread_of_context.pop(context)
        thread.submit(db.connections.close_all)
        thread.shutdown(wait=False)
