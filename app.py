"""The same countdown, streamed over WSGI and over ASGI.

    make run-wsgi    gunicorn: a stream holds its worker all the time
    make run-asgi    uvicorn:  a stream frees its worker at every await

Environment: COUNT, the first number (100); TICK, seconds between events (1);
DEBUG=1, Django's debug pages. `python app.py` takes management commands.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.core.management.utils import get_random_secret_key
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.template import Context, Engine
from django.urls import path
from django.views.decorators.http import require_safe

from handlers import get_asgi_application
from responses import AsyncStreamingHttpResponse

COUNT = int(os.environ.get("COUNT", "100"))
TICK = float(os.environ.get("TICK", "1"))

settings.configure(
    DEBUG=os.environ.get("DEBUG") == "1",
    # With the dot: the page opens further tabs as tab2.localhost and so on.
    ALLOWED_HOSTS=[".localhost", "127.0.0.1", "[::1]"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=get_random_secret_key(),
    WSGI_APPLICATION=f"{__name__}.wsgi_application",  # for runserver
)


def event(i):
    return f"event:i\ndata: {json.dumps({'i': i})}\n\n"


def countdown():
    for i in range(COUNT, -1, -1):
        yield event(i)
        time.sleep(TICK)  # the worker sleeps, too


# "async def" with "yield" is an async generator. The "a" in front of its name
# is Django's way to name async twins, such as get() and aget().
async def acountdown():
    for i in range(COUNT, -1, -1):
        yield event(i)
        await asyncio.sleep(TICK)  # the worker serves others


def event_stream(request, response_class, events):
    """Answer with a stream of events, over WSGI and ASGI alike."""
    request.get_host()  # refuses a foreign Host; CommonMiddleware is not here
    headers = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",  # nginx: pass on each event at once
    }
    if request.method == "HEAD":  # no body, so no countdown
        return HttpResponse(headers=headers)
    return response_class(events, headers=headers)


@require_safe
def sse(request):
    return event_stream(request, StreamingHttpResponse, countdown())


# Django's StreamingHttpResponse would do, too; see responses.py for more.
@require_safe
async def asse(request):
    return event_stream(request, AsyncStreamingHttpResponse, acountdown())


# Not in the post: each interface with the other's generator. Django warns and
# collects all events before it sends one; gunicorn kills its worker meanwhile.
@require_safe
def swapped(request):
    return event_stream(request, StreamingHttpResponse, acountdown())


@require_safe
async def aswapped(request):
    return event_stream(request, StreamingHttpResponse, countdown())


@require_safe
def index(request):
    return page(request, "WSGI")


@require_safe
async def aindex(request):
    return page(request, "ASGI")


urlpatterns = [
    path("", index),
    path("sse/", sse),
    path("sse/swapped/", swapped),
]

async_urlpatterns = (  # a tuple: Django's cache of resolvers has to hash it
    path("", aindex),
    path("sse/", asse),
    path("sse/swapped/", aswapped),
)


class AsyncRequest(ASGIRequest):
    # One module, two sets of URLs: this one stands in for ROOT_URLCONF.
    urlconf = async_urlpatterns


wsgi_application = get_wsgi_application()
# Django's own handler would do, too, but holds a thread for each stream.
asgi_application = get_asgi_application()
asgi_application.request_class = AsyncRequest


# The page that both halves send; there is nothing async from here on.
def page(request, interface):
    request.get_host()  # as in event_stream()
    values = {
        "interface": interface,
        "server": Path(sys.argv[0]).name,  # gunicorn, uvicorn
        "pid": os.getpid(),
    }
    return HttpResponse(PAGE.render(Context(values)))


PAGE = Engine().from_string("""<!doctype html>
<html lang="en" class="{{ interface }}">
<meta name="viewport" content="width=device-width">
<title>… · {{ interface }}</title>
<link rel="icon" href="data:,">
<style>
  .WSGI { color: light-dark(#9a3412, #ffb27a); border-top: 1rem solid; }
  .ASGI { color: light-dark(#0f5c63, #7fdbd5); border-top: 1rem dashed; }
  html { color-scheme: light dark; text-align: center; --room: min(40vw, 38vh);
    background: color-mix(in lab, currentColor 6%, Canvas); text-wrap: balance;
    font: clamp(18px, 1.8vw, 34px)/1.4 system-ui; font-variant: tabular-nums; }
  h1, p { margin: 2vh; } a, #now, #count { color: inherit; font-weight: bold; }
  #count { height: var(--room); align-content: center; line-height: 1;
    font-size: min(126vw / clamp(3, var(--length, 3), 13), var(--room)); }
  @media (height < 32rem) { h1, p:has(a), #log { display: none; }
    html { font-size: min(4vw, 6vh); --room: calc(92vh - 5.5rem); } }
</style>
<h1>{{ interface }}</h1>
<p>page sent by {{ server }}, worker pid {{ pid }}</p>
<p id="count" role="timer">…</p>
<p><output id="now">waiting for the worker's first event</output>
<span id="wait"></span></p>
<p><a id="link" href="/" target="_blank">open another tab</a><br>under a name
of its own: browsers open only six to nine connections to one host</p>
<p id="log"></p>
<noscript>The countdown needs JavaScript.</noscript>
<script>
  const [count, now, wait, link, log] = document.querySelectorAll("body [id]");
  const seconds = () => `${Math.round((Date.now() - since) / 1000)}s`;
  let since = Date.now(), last, counting, again = "";

  function show(what, news) {
    document.title = `${what} · {{ interface }}`;
    count.textContent = what;
    count.style.setProperty("--length", count.textContent.length);
    if (news === now.value) return;
    log.insertAdjacentHTML("afterbegin", `${now.value} · ${seconds()}<br>`);
    now.value = news;
    since = Date.now();
  }

  function connect() {
    const source = new EventSource("/sse/");
    source.addEventListener("i", (event) => {
      last = JSON.parse(event.data).i;
      counting ??= `counting ${again}from ${last}`;
      show(last, counting);
      if (last > 0) return;
      source.close();  // or it would start again
      show("Blastoff!", `the stream ended after ${seconds()}`);
    });
    source.addEventListener("error", () => {
      const cut = last ? `cut off at ${last} after ${seconds()}` : "no events";
      show(cut, `${cut}, reconnecting`);
      if (last) again = "again ";
      counting = last = null;
      // The browser itself retries a lost connection, but not an HTTP error.
      if (source.readyState === source.CLOSED) setTimeout(connect, 3000);
    });
  }
  connect();
  setInterval(() => wait.textContent = counting ? "" : `· ${seconds()}`, 100);

  let tab = parseInt(location.hostname.slice(3)) || 1;  // tab7.localhost: 7
  const nextName = () => (link.hostname = `tab${++tab}.localhost`);
  link.onclick = link.onauxclick = link.oncontextmenu = nextName;
</script>
""")

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    sys.modules["app"] = sys.modules[__name__]  # for `import app` in a shell
    execute_from_command_line(sys.argv)
