"""Other ways to serve app.py's countdown and its page over ASGI, for `make bench`."""

from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http import StreamingHttpResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.routing import Route

from app import HEADERS, acountdown, aindex, page


async def stock_sse(request):
    return StreamingHttpResponse(acountdown(), headers=HEADERS)


class StockRequest(ASGIRequest):
    urlconf = (path("", aindex), path("sse/", stock_sse))


stock = ASGIHandler()
stock.request_class = StockRequest


async def starlette_page(request):
    return HTMLResponse(page("ASGI"))


async def starlette_sse(request):
    return StreamingResponse(acountdown(), headers=HEADERS)


routes = [Route("/", starlette_page), Route("/sse/", starlette_sse)]
starlette = Starlette(routes=routes)


async def bare(scope, receive, send):
    """No framework at all: what a stream costs uvicorn and the generator."""
    streams = scope["path"] == "/sse/"
    headers = HEADERS if streams else {"Content-Type": "text/html; charset=utf-8"}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    if streams:
        async for event in acountdown():
            await send(body(event, more_body=True))
    await send(body("" if streams else page("ASGI")))


def body(text, more_body=False):
    data = text.encode()
    return {"type": "http.response.body", "body": data, "more_body": more_body}
