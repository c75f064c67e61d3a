"""An open stream holds no thread: counted, not timed."""

import asyncio

from harness import Server
from streams import fetch_page, open_streams

STREAMS = 200
COUNT = 20  # of half a second each: all streams are open before one ends


def threads(asgi):
    """The worker's threads: idle after a few pages, and while 200 streams are open."""
    with Server("run-asgi", COUNT=COUNT, TICK=0.5, ASGI=asgi) as server:
        return asyncio.run(hold(server.port, server.worker()))


async def hold(port, worker):
    await asyncio.gather(*(fetch_page(port) for _ in range(5)))
    await asyncio.sleep(0.5)  # a thread that ends takes a moment
    idle = worker.num_threads()
    streams = await open_streams(port, STREAMS, COUNT, patience=10)
    held = worker.num_threads()
    assert len(streams) == STREAMS
    assert not any(stream.ended.done() for stream in streams)
    await asyncio.wait([stream.ended for stream in streams], timeout=60)
    assert all(stream.complete for stream in streams)
    return idle, held


def test_open_streams_hold_no_threads():
    idle, held = threads("app:asgi_application")
    assert held <= idle + 4


def test_djangos_own_handler_holds_a_thread_for_each():
    # What handlers.py is for; when this fails, Django needs it no more.
    idle, held = threads("tests.programs.foundations:stock")
    assert held > idle + 4
    assert held >= STREAMS
