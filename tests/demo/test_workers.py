"""WORKERS= and GUNICORN=: more workers, other workers, on real gunicorn and uvicorn."""

import asyncio
import re
from contextlib import suppress

import httpx
import pytest
from harness import Server
from streams import fetch_page, open_streams

pytestmark = pytest.mark.slow
GEVENT = {"GUNICORN": "--worker-class gevent"}
PATIENCE = 5  # seconds until a stream that waits is given up


async def open_and_count(server, streams):
    """Ask for so many streams; return those that got an event once each got two."""
    opened = await open_streams(server.port, streams, 100, PATIENCE)
    async with asyncio.timeout(20):
        while min(len(stream.times) for stream in opened) < 2:
            await asyncio.sleep(0.1)
    return opened


async def boot(server):
    """Wait until every worker serves; Ctrl-C during the imports is another story."""
    pids = set()
    workers = int(server.variables.get("WORKERS", 1))
    async with asyncio.timeout(30):
        while len(pids) < workers:
            with suppress(httpx.TransportError):
                page = await asyncio.to_thread(httpx.get, server.url, timeout=20)
                pids.add(re.search(r"worker pid (\d+)", page.text)[1])
    return pids


async def test_two_sync_workers_let_two_tabs_count_and_the_third_waits():
    with Server("run-wsgi", WORKERS=2) as server:
        opened = await open_and_count(server, streams=3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fetch_page(server.port), timeout=1)
    assert len(opened) == 2


async def test_two_asgi_workers_share_the_tabs():
    with Server("run-asgi", WORKERS=2) as server:
        assert len(await boot(server)) == 2
        assert len(await open_and_count(server, streams=20)) == 20


async def test_gevent_streams_run_past_30_seconds_side_by_side():
    with Server("run-wsgi", **GEVENT) as server:
        streams = await open_streams(server.port, 3, 100, PATIENCE)
        async with asyncio.timeout(60):
            while min(len(stream.times) for stream in streams) <= 32:
                await asyncio.sleep(0.5)
        await fetch_page(server.port)
        assert not any(stream.ended.done() for stream in streams)
        assert "WORKER TIMEOUT" not in server.log()
    assert len(streams) == 3


@pytest.mark.parametrize(
    ("target", "variables"),
    [
        ("run-wsgi", {"WORKERS": 2}),
        ("run-wsgi", {"WORKERS": 2, "GUNICORN": "--threads 4"}),
        ("run-wsgi", {"WORKERS": 2} | GEVENT),
        ("run-asgi", {"WORKERS": 2}),
    ],
)
async def test_ctrl_c_ends_all_workers(target, variables):
    with Server(target, **variables) as server:
        await boot(server)
        streams = await open_and_count(server, streams=4)
        seconds = await asyncio.to_thread(server.stop)
        log = server.log()
    assert len(streams) >= 2
    assert seconds < 3
    assert "Traceback" not in log
    assert "Shutting down: Master" in log or "Stopping parent process" in log
