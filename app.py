"""The same countdown, streamed over WSGI and over ASGI.

    make run-wsgi    gunicorn: an open stream holds its worker
    make run-asgi    uvicorn:  one worker serves all the streams at once

Environment: COUNT, the first number (100); TICK, seconds between events (1);
DEBUG=1, Django's debug pages. Management commands: .venv/bin/python app.py
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

from handlers import get_asgi_application
from responses import AsyncStreamingHttpResponse

COUNT = int(os.environ.get("COUNT", "100"))
TICK = float(os.environ.get("TICK", "1"))

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx: pass on each event at once
}

settings.configure(
    DEBUG=os.environ.get("DEBUG") == "1",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=get_random_secret_key(),
    WSGI_APPLICATION=f"{__name__}.wsgi_application",  # for runserver
)


def event(i):
    return f"event:i\ndata: {json.dumps({'i': i})}\n\n"


# gunicorn's sync worker serves one response at a time: as long as this one is
# open, nobody else is served, whether the worker sleeps or not.
def countdown():
    for i in range(COUNT, -1, -1):
        yield event(i)
        time.sleep(TICK)  # the whole worker sleeps


# "async def" with "yield" is an async generator. The "a" in front of its name
# is Django's way to name async twins, such as get() and aget().
async def acountdown():
    for i in range(COUNT, -1, -1):
        yield event(i)
        await asyncio.sleep(TICK)  # only this stream sleeps


def sse(request):
    return StreamingHttpResponse(countdown(), headers=HEADERS)


# Unlike Django's, this response refuses a sync generator and needs no thread.
async def asse(request):
    return AsyncStreamingHttpResponse(acountdown(), headers=HEADERS)


def index(request):
    return HttpResponse(page("WSGI"))


async def aindex(request):
    return HttpResponse(page("ASGI"))


# Two modules in the post, one here: WSGI requests use urlpatterns, ASGI ones
# async_urlpatterns (a tuple, since a list can't be the key of a cache).
urlpatterns = [path("", index), path("sse/", sse)]
async_urlpatterns = (path("", aindex), path("sse/", asse))


class AsyncRequest(ASGIRequest):
    urlconf = async_urlpatterns


wsgi_application = get_wsgi_application()

# Django's own handler would do, too, but each stream would hold a thread.
asgi_application = get_asgi_application()
asgi_application.request_class = AsyncRequest


# The page that both send; there is nothing async from here on.
def page(interface):
    server = Path(sys.argv[0]).name  # gunicorn, uvicorn
    values = {"interface": interface, "server": server, "pid": os.getpid()}
    return PAGE.render(Context(values))


PAGE = Engine().from_string("""<!doctype html>
<html lang="en" class="{{ interface }}">
<meta name="viewport" content="width=device-width">
<title>… · {{ interface }}</title>
<link rel="icon" href="data:,">
<style>
  .WSGI { --fill: #9a3412; color: light-dark(#9a3412, #ffb27a); }
  .ASGI { --fill: #0f5c63; color: light-dark(#0f5c63, #7fdbd5); }
  html { color-scheme: light dark; background: Canvas; --room: 40svh;
    font: clamp(18px, 3.4vmin, 54px)/1.2 system-ui; text-wrap: balance; }
  body { box-sizing: border-box; min-height: 100svh; margin: 0; display: grid;
    place-content: center; text-align: center; border: .3rem solid; }
  h1, p { margin: .4rem; } a { color: inherit; } #state { font-size: 1.4em; }
  #count { font-size: min(var(--room), 126vw / max(3, var(--length)));
    font-weight: bold; font-variant: tabular-nums; line-height: 1; }
  .counting { background: var(--fill); border-color: #0000; color: white; }
  .waiting { border-style: dashed; } .waiting #state { font-size: 2em; }
  .frame { font-size: min(5vw, 8vh); --room: 54svh; }
  .waiting #count, .frame h1, .frame #more { display: none; }
</style>
<body class="waiting"><main><h1>{{ interface }}</h1>
<p>{{ server }}, worker pid {{ pid }}</p>
<p id="count" role="timer"></p>
<p id="state" role="status">waiting for the first event</p>
<p id="more"><a id="link" href="/" target="_blank">open another tab</a><br>
browsers open six to nine connections to a host</p>
<noscript>The countdown needs JavaScript.</noscript></main>
<script>
  const count = document.getElementById("count");
  const state = document.getElementById("state");
  const link = document.getElementById("link");
  const source = new EventSource("/sse/");
  let first, last;

  function show(doing, what, news) {
    document.body.className = doing;
    document.title = `${what} · {{ interface }}`;
    count.textContent = what;
    count.style.setProperty("--length", count.textContent.length);
    if (state.textContent !== news) state.textContent = news;  // read aloud
  }

  source.addEventListener("i", (event) => {
    last = JSON.parse(event.data).i;
    first ??= last;
    if (last > 0) return show("counting", last, `counting from ${first}`);
    source.close();  // or the browser would ask for it again
    show("ended", "Blastoff!", "the stream is closed");
  });
  source.addEventListener("error", () => {
    const news = last ? `cut off at ${last}` : "no events";
    const again = source.readyState === EventSource.CONNECTING;
    show("waiting", "…", again ? `${news}, reconnecting` : news);
    first = last = undefined;
  });
  document.documentElement.classList.toggle("frame", window !== top);
  document.querySelector("main").ariaLabel = window.name || null;
  let tab = parseInt(location.hostname.slice(3)) || 1;  // tab7.localhost: 7
  const nextName = () => (link.hostname = `tab${++tab}.localhost`);
  if (/localhost$|^127[.]|::1/.test(location.hostname))  // not on a phone
    link.onclick = link.onauxclick = link.oncontextmenu = nextName;
</script>
""")

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    sys.modules["app"] = sys.modules[__name__]  # for `import app` in a shell
    execute_from_command_line(sys.argv)
