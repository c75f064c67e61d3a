"""The same countdown, streamed over WSGI and over ASGI.

    make run-wsgi    gunicorn: a stream holds its worker until it ends
    make run-asgi    uvicorn:  a stream hands the worker on at every await

Environment: COUNT (100) to count from, TICK (1) seconds between two events,
DEBUG=1 for Django's debug pages. `python app.py` takes management commands.
"""

import asyncio
import json
import os
import sys
import time
from importlib.metadata import version

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.core.management.utils import get_random_secret_key
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.http import require_safe

from handlers import get_asgi_application
from responses import AsyncStreamingHttpResponse


def setting(name, default, number):
    """Read a number >= 0 from the environment, or stop the server."""
    value = os.environ.get(name, default)
    try:
        if 0 <= number(value) < float("inf"):
            return number(value)
    except ValueError:
        pass
    kind = "whole number" if number is int else "number"
    print(f"{name}={value!r}: must be a {kind} >= 0", file=sys.stderr)
    # gunicorn starts a dead worker again, unless it exits with 3.
    sys.exit(3)


COUNT = setting("COUNT", "100", int)
TICK = setting("TICK", "1", float)

settings.configure(
    DEBUG=os.environ.get("DEBUG") == "1",
    ALLOWED_HOSTS=[".localhost", "127.0.0.1", "[::1]"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=get_random_secret_key(),
    WSGI_APPLICATION=f"{__name__}.wsgi_application",
)

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>INTERFACE</title>
<link rel="icon" href="data:,">
<h1>Countdown <span id="countdown"></span></h1>
<p>INTERFACE by SERVER</p>
<script>
  const source = new EventSource("/sse/");
  source.addEventListener("i", (event) => {
    const { i } = JSON.parse(event.data);
    document.getElementById("countdown").innerText = i || "Blastoff!";
    if (i === 0) source.close();  // or it would start again
  });
</script>
</html>
"""


def event(i):
    return f"event:i\ndata: {json.dumps({'i': i})}\n\n"


def countdown():
    for i in range(COUNT, -1, -1):
        yield event(i)
        time.sleep(TICK)  # the worker sleeps, too


async def acountdown():
    for i in range(COUNT, -1, -1):
        yield event(i)
        await asyncio.sleep(TICK)  # the worker serves others


def page(request, interface):
    request.get_host()  # raises DisallowedHost; there is no middleware for it
    server = "gunicorn" if interface == "WSGI" else "uvicorn"
    served_by = f"{server} {version(server)}, worker pid {os.getpid()}"
    html = PAGE.replace("INTERFACE", interface).replace("SERVER", served_by)
    return HttpResponse(html)


def event_stream(request, response_class, events):
    request.get_host()
    headers = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
    }
    if request.method == "HEAD":
        return HttpResponse(headers=headers)
    return response_class(events, headers=headers)


@require_safe
def index(request):
    return page(request, "WSGI")


@require_safe
async def aindex(request):
    return page(request, "ASGI")


@require_safe
def sse(request):
    return event_stream(request, StreamingHttpResponse, countdown())


@require_safe
async def asse(request):
    return event_stream(request, AsyncStreamingHttpResponse, acountdown())


@require_safe
def swapped(request):
    return event_stream(request, StreamingHttpResponse, acountdown())


@require_safe
async def aswapped(request):
    return event_stream(request, StreamingHttpResponse, countdown())


urlpatterns = [
    path("", index),
    path("sse/", sse),
    path("sse/swapped/", swapped),
]


class AsyncRequest(ASGIRequest):
    """The same URLs, answered by the async views."""

    urlconf = (
        path("", aindex),
        path("sse/", asse),
        path("sse/swapped/", aswapped),
    )


wsgi_application = get_wsgi_application()
asgi_application = get_asgi_application(request_class=AsyncRequest)

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    sys.modules["app"] = sys.modules[__name__]  # for the shell to import
    execute_from_command_line(sys.argv)
