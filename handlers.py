"""Django's ASGI handler for long streams: a stream holds no thread it does not need.

Django's own (5.2 to 6.1) runs its receivers of request_started in a thread per request
(ticket 32889), and an open stream holds that thread to its end. In this handler
- request signals and response.close() run on the event loop, as long as the request has
  used no thread and only Django's own code would run;
- if response.needs_thread is False, the request's thread ends before the first part;
- an event stream that the server cancels gets its last message, and no CancelledError;
- a response is closed, and request_finished sent, even after an error or a cancel.
"""

import asyncio
from collections.abc import Callable
from inspect import unwrap
from types import MethodType

import django
from asgiref.sync import AsyncToSync, SyncToAsync, sync_to_async
from django.core.cache import caches, close_caches
from django.core.exceptions import RequestAborted
from django.core.handlers import asgi, base
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections, reset_queries
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

DJANGOS_OWN = (reset_queries, close_old_connections, close_caches, base.reset_urlconf)


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
        # What runs the sync code around this request, if any: not ours to end.
        shared = getattr(AsyncToSync.executors, "current", None) or sync_executor()
        send = Send(send)
        try:
            body_file = await self.read_body(receive)
        except RequestAborted:
            return
        try:
            set_script_prefix(asgi.get_script_prefix(scope))
            if self.only_django_runs(request_started, shared):
                request_started.send(sender=self.__class__, scope=scope)
            else:
                await request_started.asend(sender=self.__class__, scope=scope)
            request, error_response = self.create_request(scope, body_file)
            if request is None:
                await self.send_response(error_response, send)
                await sync_to_async(error_response.close)()
            else:
                await self.respond(request, receive, send, shared)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            # A cut download must look cut; an event stream may end after any event.
            if not (send.is_open and task.cancelling()):
                raise
            task.uncancel()
            await send({"type": "http.response.body"})
            end_thread(shared)  # else a second cancel meets Django's wait for it
        finally:
            body_file.close()

    async def respond(self, request, receive, send, shared):
        """Run the view and send its response; stop both when the client has gone."""
        response = error = None
        try:
            async with asyncio.TaskGroup() as group:
                listener = group.create_task(self.listen_for_disconnect(receive))
                response = await self.run_get_response(request)
                if not getattr(response, "needs_thread", True):
                    end_thread(shared)
                await self.send_response(response, send)
                listener.cancel()
        except BaseExceptionGroup as errors:
            _, error = errors.split(RequestAborted)  # the client has gone: no error
        finally:
            try:
                if response is None:
                    await request_finished.asend(sender=self.__class__)
                elif self.closes_without_thread(request, response, shared):
                    response.close()
                else:
                    await sync_to_async(response.close)()
            finally:
                if error:  # rather than one of close()
                    raise error.exceptions[0] if len(error.exceptions) == 1 else error

    def only_django_runs(self, signal, shared):
        """Tell whether there is no thread yet and only Django's receivers would run."""
        sync_and_async = signal._live_receivers(self.__class__)  # nothing public does
        return not (shared or sync_executor()) and all(
            unwrap(r) in DJANGOS_OWN for receivers in sync_and_async for r in receivers
        )

    def closes_without_thread(self, request, response, shared):
        """Tell whether there is no thread yet and only Django's code would close it."""
        closers = response._resource_closers  # projects add to it; nothing public does
        return (
            self.only_django_runs(request_finished, shared)
            and response.close == MethodType(HttpResponseBase.close, response)
            and closers == [MethodType(asgi.ASGIRequest.close, request)]
            and request.content_type != "multipart/form-data"  # uploads have a close()
            and not caches.all(initialized_only=True)  # close_caches() closes them
        )


class Send:
    """Wraps the server's send(); is_open: whether an event stream has yet to end."""

    __slots__ = "is_open", "send"

    def __init__(self, send):
        self.send, self.is_open = send, False

    def __call__(self, message):
        if message.get("more_body"):
            return self.send(message)
        return self.start_or_end(message)

    async def start_or_end(self, message):
        await self.send(message)
        headers = {name.lower(): value for name, value in message.get("headers", ())}
        kind = headers.get(b"content-type", b"").lower()
        self.is_open = kind.startswith(b"text/event-stream")


def sync_executor():
    """Return the executor of sync code, if there is one: see SyncToAsync.__call__."""
    context = SyncToAsync.thread_sensitive_context.get(None)
    return SyncToAsync.context_to_thread_executor.get(context) if context else None


def end_thread(shared):
    """Close the connections of the request's own thread, and end it."""
    executor = sync_executor()
    if executor and not shared:
        context = SyncToAsync.thread_sensitive_context.get()
        del SyncToAsync.context_to_thread_executor[context]
        executor.submit(connections.close_all)
        executor.shutdown(wait=False)
