"""An open stream holds no thread: counted, not timed."""

import asyncio

from harness import Server
from streams import fetch_page, open_streams

STREAMS = 200
COUNT = 20  # of half a second each: all streams are open before one ends


def threads_held(asgi):
    """Threads of the worker while 200 streams are open, beyond those it has idle."""
    with Server("run-asgi", COUNT=COUNT, TICK=0.5, ASGI=asgi) as server:
        return asyncio.run(hold(server.port, server.worker()))


async def hold(port, worker):
    await asyncio.gather(*(fetch_page(port) for _ in range(5)))
    idle = worker.num_threads()
    streams = await open_streams(port, STREAMS, COUNT, patience=10)
    threads = worker.num_threads()
    assert len(streams) == STREAMS
    assert not any(stream.ended.done() for stream in streams)
    await asyncio.wait([stream.ended for stream in streams], timeout=60)
    assert all(stream.complete for stream in streams)
    return threads - idle


def test_open_streams_hold_no_threads():
    assert threads_held("app:asgi_application") <= 4


def test_djangos_own_handler_holds_a_thread_for_each():
    # What handlers.py is for; if this fails, Django may no longer need it.
    # Five of the threads may have been there before, for the five pages.
    assert threads_held("tests.contestants:stock") >= STREAMS - 5
