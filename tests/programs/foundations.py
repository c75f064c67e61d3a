"""The same countdown and the same page on other ASGI foundations, for `make bench`.

    make run-asgi ASGI=tests.programs.foundations:stock

Each sends what app.py sends, byte for byte but for the headers' case and order, and
runs app.py's own generator.
"""

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
    """app.py's URLs; the stream is Django's own."""

    urlconf = (path("", aindex), path("sse/", stock_sse))


stock = ASGIHandler()
stock.request_class = StockRequest


async def starlette_page(request):
    return HTMLResponse(page("ASGI"))


async def starlette_sse(request):
    return StreamingResponse(acountdown(), headers=HEADERS)


starlette = Starlette(
    routes=[Route("/", starlette_page), Route("/sse/", starlette_sse)]
)


async def bare(scope, receive, send):
    """No framework at all: what a stream costs uvicorn and the generator."""
    if scope["path"] == "/sse/":
        await start(send, HEADERS)
        async for event in acountdown():
            await send(body(event, more_body=True))
        await send(body(""))
    else:
        await start(send, {"Content-Type": "text/html; charset=utf-8"})
        await send(body(page("ASGI")))


async def start(send, headers):
    encoded = [(k.encode(), v.encode()) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": encoded})


def body(text, more_body=False):
    data = text.encode()
    return {"type": "http.response.body", "body": data, "more_body": more_body}
