"""The WSGI half on real gunicorn, beyond what the post says of it."""

import asyncio

import httpx
import pytest
from harness import COUNTDOWN, Server, browse_until, first, numbers, read_numbers

pytestmark = pytest.mark.slow


async def test_threads_let_four_streams_pass_30_seconds_while_a_fifth_waits():
    with Server("run-wsgi", GUNICORN_CMD_ARGS="--threads 4") as server:
        *four, fifth = await browse_until(
            lambda *tabs: all(len(numbers(tab)) > 32 for tab in tabs[:4]),
            server.url,
            tabs=5,
            seconds=60,
        )
        log = server.log()
    for records in four:
        assert numbers(records)[:32] == COUNTDOWN[:32]
        assert first(records, "cut") is None
    assert [record.kind for record in fifth] == ["open"]
    assert "WORKER TIMEOUT" not in log


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
