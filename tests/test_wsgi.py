"""The WSGI half on real gunicorn: one stream holds the worker."""

import asyncio
import re
import time
from datetime import datetime

import httpx
import pytest
from harness import Server, browse, read_numbers

COUNTDOWN = list(range(100, -1, -1))


async def browse_until(done, url, tabs):
    """Open tabs one after the other; return the records of each when done(*records)."""
    records = [[] for _ in range(tabs)]
    tasks = []
    for tab in range(tabs):
        tasks.append(asyncio.create_task(browse(url, tab, records[tab].append)))
        await asyncio.sleep(1)
    async with asyncio.timeout(60):
        while not done(*records):
            await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    return records


def numbers(records):
    return [record.value for record in records if record.kind == "number"]


def first(records, kind):
    return next((record for record in records if record.kind == kind), None)


async def test_stream_is_cut_after_30_seconds():
    with Server("run-wsgi") as server:
        begin = time.monotonic()
        one, two = await browse_until(
            lambda one, two: len(numbers(two)) > 1, server.url, tabs=2
        )
        log = server.log()
    cut = first(one, "cut")
    assert 69 <= cut.value <= 71
    assert numbers(one)[: 101 - cut.value] == list(range(100, cut.value - 1, -1))
    assert 29 < cut.at - begin < 40
    assert "WORKER TIMEOUT" in log
    assert first(two, "page").at > cut.at
    assert numbers(two)[:2] == [100, 99]


async def test_worker_times_out_every_31_seconds():
    with Server("run-wsgi") as server:
        tab = asyncio.create_task(browse(server.url, 1, lambda record: None))
        async with asyncio.timeout(100):
            while len(timeouts(server)) < 2:
                await asyncio.sleep(0.5)
        tab.cancel()
        first, second = timeouts(server)
    # The browser's three seconds before it reconnects come on top.
    assert 30 <= (second - first).total_seconds() <= 42


def timeouts(server):
    """The times of the worker timeouts in the server's log."""
    found = re.findall(r"\[(.{19}) .*WORKER TIMEOUT", server.log())
    return [datetime.fromisoformat(time) for time in found]


async def test_threads_let_four_streams_pass_30_seconds_while_a_fifth_waits():
    with Server("run-wsgi", GUNICORN_CMD_ARGS="--threads 4") as server:
        *four, fifth = await browse_until(
            lambda *tabs: all(len(numbers(tab)) > 32 for tab in tabs[:4]),
            server.url,
            tabs=5,
        )
        log = server.log()
    for records in four:
        assert numbers(records)[:32] == COUNTDOWN[:32]
        assert first(records, "cut") is None
    assert [record.kind for record in fifth] == ["open"]
    assert "WORKER TIMEOUT" not in log


async def test_swapped_generator_is_cut_before_its_first_event():
    with Server("run-wsgi") as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            begin = time.monotonic()
            try:
                response = await client.get("/sse/swapped/")
            except httpx.RemoteProtocolError:
                response = None
            seconds = time.monotonic() - begin
        assert "must consume asynchronous iterators" in server.log()
        assert "WORKER TIMEOUT" in server.log()
    assert response is None or (response.status_code, "event" in response.text) == (
        500,
        False,
    )
    assert 29 < seconds < 40


@pytest.mark.parametrize("arguments", ["", "--threads 1"])
async def test_client_that_leaves_ends_its_generator_at_the_next_write(arguments):
    variables = {"TICK": 0.2, "COUNT": 100_000, "GUNICORN_CMD_ARGS": arguments}
    with Server("run-wsgi", **variables) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            assert await read_numbers(client, most=2) == [100_000, 99_999]
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            assert (await client.get("/")).status_code == 200
        assert "WORKER TIMEOUT" not in server.log()


@pytest.mark.parametrize("arguments", ["", "--threads 4"])
async def test_ctrl_c_ends_open_streams(arguments):
    with Server("run-wsgi", GUNICORN_CMD_ARGS=arguments) as server:
        client = httpx.AsyncClient(base_url=server.url, timeout=20)
        async with client, client.stream("GET", "/sse/") as response:
            await anext(response.aiter_bytes())
            seconds = await asyncio.to_thread(server.stop)
        log = server.log()
    assert seconds < 3
    assert "Traceback" not in log
    assert "Shutting down: Master" in log
    after = log.split("Handling signal: int")[1].splitlines()
    assert all("[INFO]" in line or "make: ***" in line for line in after if line)
