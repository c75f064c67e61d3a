"""Django's ASGI handler for long streams: a stream holds no thread it does not need.

Django's own (5.2 to 6.1) holds a thread for each open stream: its receivers of
request_started run in a thread of the request's own (ticket 32889). Here
- request signals and response.close() run on the event loop, as long as the request has
  used no thread and only Django's own code would run;
- if response.needs_thread is False, the request's thread ends before the first part;
- an event stream that the server cancels ends in order, without a CancelledError;
- a response is closed, and request_finished sent, after an error or a cancel, too.
"""

import asyncio
from collections.abc import Callable
from contextlib import closing
from inspect import unwrap
from types import MethodType

import django
from asgiref.sync import AsyncToSync, SyncToAsync, sync_to_async
from django.core.cache import caches, close_caches
from django.core.exceptions import RequestAborted
from django.core.handlers import asgi
from django.core.handlers.base import reset_urlconf
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections, reset_queries
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

DJANGOS_RECEIVERS = (reset_queries, close_old_connections, close_caches, reset_urlconf)


def get_asgi_application(request_class: type = asgi.ASGIRequest) -> "ASGIHandler":
    """Set Django up and return an ASGI application, in place of django.core.asgi's."""
    django.setup(set_prefix=False)
    application = ASGIHandler()
    application.request_class = request_class
    return application


class ASGIHandler(asgi.ASGIHandler):
    """Django's ASGIHandler with another handle(); the module says what differs."""

    async def handle(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Serve one request, in the server's task and context."""
        outer = sync_executor()
        try:
            body_file = await self.read_body(receive)
        except RequestAborted:
            return
        with closing(body_file):
            set_script_prefix(asgi.get_script_prefix(scope))
            await self.send_signal(request_started, scope=scope)
            request, error_response = self.create_request(scope, body_file)
            if request is None:
                await self.send_response(error_response, send)
                await sync_to_async(error_response.close)()
                return
            send = Send(send)
            try:
                await self.respond(request, receive, send, outer)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                # A cut download must look cut; an event stream may end at any point.
                if not (send.event_stream_is_open and task.cancelling()):
                    raise
                task.uncancel()
                await send({"type": "http.response.body"})
                end_thread(outer)  # Django waits for it, and servers cancel twice

    async def respond(self, request, receive, send, outer):
        """Run the view and send its response; stop both when the client has gone."""
        response = error = None
        try:
            async with asyncio.TaskGroup() as group:
                listener = group.create_task(self.listen_for_disconnect(receive))
                response = await self.run_get_response(request)
                if not getattr(response, "needs_thread", True):
                    end_thread(outer)
                await self.send_response(response, send)
                listener.cancel()
        except BaseExceptionGroup as errors:
            _, error = errors.split(RequestAborted)
        finally:
            if response is None:
                await self.send_signal(request_finished)
            elif self.closes_without_thread(request, response):
                response.close()
            else:
                await sync_to_async(response.close)()
        if error:
            raise error.exceptions[0] if len(error.exceptions) == 1 else error

    async def send_signal(self, signal, **named):
        if self.only_django_runs(signal):
            signal.send(sender=self.__class__, **named)
        else:
            await signal.asend(sender=self.__class__, **named)

    def only_django_runs(self, signal):
        """Tell whether there is no thread yet and only Django's receivers would run."""
        # Signal.has_listeners() is public, but cannot tell whose they are.
        sync_and_async = signal._live_receivers(self.__class__)
        return (
            not sync_executor()
            and all(unwrap(r) in DJANGOS_RECEIVERS for rs in sync_and_async for r in rs)
            and not caches.all(initialized_only=True)  # close_caches() closes them
        )

    def closes_without_thread(self, request, response):
        """Tell whether no thread was used and only Django's code closes response."""
        closers = response._resource_closers  # projects add to it; nothing public does
        return (
            self.only_django_runs(request_finished)
            and response.close == MethodType(HttpResponseBase.close, response)
            and closers == [MethodType(asgi.ASGIRequest.close, request)]
            and request.content_type != "multipart/form-data"  # uploads have a close()
        )


class Send:
    """The server's send(), which knows whether an event stream is open."""

    def __init__(self, send):
        self.send, self.event_stream_is_open = send, False

    def __call__(self, message):
        return (self.send if message.get("more_body") else self.start_or_end)(message)

    async def start_or_end(self, message):
        await self.send(message)
        headers = {name.lower(): value for name, value in message.get("headers", ())}
        content_type = headers.get(b"content-type", b"")
        self.event_stream_is_open = content_type.startswith(b"text/event-stream")


def sync_executor():
    """Return what runs the request's sync code, if any: see SyncToAsync.__call__."""
    context = SyncToAsync.thread_sensitive_context.get(None)
    own = SyncToAsync.context_to_thread_executor.get(context) if context else None
    return getattr(AsyncToSync.executors, "current", None) or own


def end_thread(outer):
    """Close the connections of the request's own thread, and end it."""
    executor = sync_executor()
    if executor and executor is not outer:
        context = SyncToAsync.thread_sensitive_context.get()
        del SyncToAsync.context_to_thread_executor[context]
        executor.submit(connections.close_all)
        executor.shutdown(wait=False)
