"""The same countdown, streamed over WSGI and over ASGI.

    make run-wsgi    gunicorn: an open stream holds its worker
    make run-asgi    uvicorn:  one worker serves all the streams at once

Environment: COUNT, the first number (100); TICK, seconds between events (1);
DEBUG=1, Django's debug pages. Management commands: .venv/bin/python app.py
"""

import asyncio
import json
import os
import time

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.template import Context, Engine
from django.urls import path

# Django's own would work, too. These hold no thread and no database connection
# while a stream is open. Skip both files on a first reading.
from handlers import get_asgi_application
from responses import AsyncStreamingHttpResponse

COUNT = int(os.environ.get("COUNT", "100"))
TICK = float(os.environ.get("TICK", "1"))

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # tells nginx not to hold events back
}

settings.configure(
    DEBUG=os.environ.get("DEBUG") == "1",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="not a secret, since nothing here is signed",
)


# One message: its type, its data, and an empty line that ends it.
def event(i):
    return f"event:i\ndata: {json.dumps({'i': i})}\n\n"


# Until this ends, its sync worker takes no other request and cannot report to
# gunicorn's master, which kills it after 30 silent seconds: the stream is cut.
def countdown():
    for i in range(COUNT, -1, -1):
        yield event(i)
        time.sleep(TICK)  # the whole worker sleeps


# "async def" with "yield" is an async generator. While it awaits, the worker
# serves others. (As in Django, an "a" marks the async twin: get() and aget().)
async def acountdown():
    for i in range(COUNT, -1, -1):
        yield event(i)
        await asyncio.sleep(TICK)  # only this stream sleeps


def sse(request):
    return StreamingHttpResponse(countdown(), headers=HEADERS)


async def asse(request):
    return AsyncStreamingHttpResponse(acountdown(), headers=HEADERS)


def index(request):
    return HttpResponse(page("WSGI"))


async def aindex(request):
    return HttpResponse(page("ASGI"))


urlpatterns = [path("", index), path("sse/", sse)]


# The post has a module for each interface. In a single one, requests over ASGI
# need URLs of their own: Django prefers a request's urlconf to ROOT_URLCONF.
class AsyncRequest(ASGIRequest):
    urlconf = (path("", aindex), path("sse/", asse))  # must be hashable


wsgi_application = get_wsgi_application()
asgi_application = get_asgi_application()
asgi_application.request_class = AsyncRequest


# You can stop reading here: what follows is the page that both send.
def page(interface):
    return PAGE.render(Context({"interface": interface, "pid": os.getpid()}))


PAGE = Engine().from_string("""<!doctype html>
<html lang="en" class="{{ interface }}">
<meta name="viewport" content="width=device-width">
<title>… · {{ interface }}</title>
<link rel="icon" href="data:,">
<style>
  .WSGI { --fill: #9a3412; color: light-dark(#9a3412, #ffb27a); }
  .ASGI { --fill: #0f5c63; color: light-dark(#0f5c63, #7fdbd5); }
  html { color-scheme: light dark; background: Canvas; text-align: center;
    font: max(min(18px, 5vw, 8vh), 3.4vmin)/1.2 system-ui; }
  body { box-sizing: border-box; min-height: 100svh; margin: 0; display: grid;
    place-content: center; text-wrap: balance; border: .2rem solid; }
  h1, p { margin: .4rem; font-variant: tabular-nums; } a { color: inherit; }
  #count { font-size: min(46svh, 32vw); font-weight: bold; line-height: 1; }
  .counting { background: var(--fill); border-color: #0000; color: white; }
  .waiting { border-style: dashed; } .waiting #count { display: none; }
  #state { font-size: 1.4em; } .waiting #state { font-size: max(2em, 5vw); }
  .ended #count { font-size: 14vw; }
  @media (max-height: 360px) { h1, #more { display: none; } }
</style>
<body class="waiting"><main><h1>{{ interface }}</h1>
<p>page from worker {{ pid }}</p>
<p id="count" role="timer"></p>
<p id="state" role="status">waiting for the first event</p>
<div id="more"><p><a href="/" target="_blank">open another tab</a></p>
<p>browsers connect six tabs to localhost and six to 127.0.0.1</p></div></main>
<script>
  const count = document.getElementById("count");
  const state = document.getElementById("state");
  const source = new EventSource("/sse/");
  let first, last;

  function show(phase, headline, text) {
    document.body.className = phase;
    document.title = `${headline} · {{ interface }}`;
    count.textContent = headline;
    if (state.textContent !== text) state.textContent = text;  // is read aloud
  }

  source.addEventListener("i", (event) => {
    last = JSON.parse(event.data).i;
    first ??= last;
    if (last > 0) return show("counting", last, `counting from ${first}`);
    source.close();  // or the browser would ask for it again
    show("ended", "Blastoff!", "the stream is closed");
  });
  source.addEventListener("error", () => {
    const end = last === undefined ? "no events" : `cut at\u00a0${last}`;
    const again = source.readyState === EventSource.CONNECTING;
    show("waiting", "…", again ? `${end}, reconnecting` : end);
    first = last = undefined;
  });

  // Browsers open six connections to a name. This machine has two names.
  const other = { localhost: "127.0.0.1", "127.0.0.1": "localhost" };
  const link = document.querySelector("a");
  const turn = () => link.hostname = other[link.hostname] ?? link.hostname;
  link.onpointerdown = turn;  // whichever button is pressed
  link.onclick = (event) => { if (!event.detail) turn(); };  // the Enter key
</script>
""")

if __name__ == "__main__":
    execute_from_command_line()
