"""Serve a stream and two errors under sentry-sdk; print what it recorded.

    python -m tests.modules.tracked django.core.handlers.asgi

A program of its own, since sentry-sdk changes Django's classes for the whole process.
"""

import asyncio
import importlib
import json
import sys
import threading
from contextlib import suppress

import django
import sentry_sdk
from django.conf import settings
from django.http import StreamingHttpResponse
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.transport import Transport

from tests.support.in_process import get, serve

RECORDED = []


class Recorder(Transport):
    """What would go to the error tracker."""

    def capture_envelope(self, envelope):
        RECORDED.extend(item.payload.json for item in envelope.items)


async def stream(request):
    async def threads():
        yield " ".join(thread.name for thread in threading.enumerate())

    return StreamingHttpResponse(threads())


async def failing_page(request):
    sentry_sdk.set_tag("tenant", "blue")
    sentry_sdk.set_user({"id": "7"})
    raise ValueError("in the page")


async def failing_stream(request):
    sentry_sdk.set_tag("tenant", "blue")
    sentry_sdk.set_user({"id": "7"})

    async def numbers():
        yield "1"
        raise ValueError("in the generator")

    return StreamingHttpResponse(numbers())


async def served(handler_class, view):
    """Serve the view once; return what was recorded of it."""
    RECORDED.clear()
    body = None
    with suppress(ValueError):  # which a server would log
        _, body = await get(serve(handler_class, view))
    sentry_sdk.flush()
    records = [summary(record) for record in RECORDED if "transaction" in record]
    return {"body": body, "records": records}


def summary(record):
    """What an error tracker shows first."""
    shown = {name: record.get(name) for name in ("transaction", "tags", "user")}
    if record.get("type") == "transaction":
        shown["status"] = record["contexts"]["trace"].get("status")
    else:
        error = record["exception"]["values"][-1]
        shown["error"] = f"{error['type']}: {error['value']}"
    return shown


async def main():
    handler_class = importlib.import_module(sys.argv[1]).ASGIHandler
    views = (stream, failing_page, failing_stream)
    print(json.dumps({v.__name__: await served(handler_class, v) for v in views}))


if __name__ == "__main__":
    settings.configure(ALLOWED_HOSTS=["localhost"], ROOT_URLCONF=__name__)
    sentry_sdk.init(
        dsn="http://key@localhost/1",
        transport=Recorder,
        integrations=[DjangoIntegration()],
        traces_sample_rate=1.0,
    )
    django.setup()
    asyncio.run(main())
