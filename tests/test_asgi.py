"""The ASGI half on real uvicorn: one worker, many streams."""

import asyncio
import time

import httpx
from harness import Server, read_numbers

COUNTDOWN = list(range(100, -1, -1))


async def test_fifty_streams_while_the_page_answers():
    with Server("run-asgi", TICK=0.1) as server:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=server.url, timeout=60, limits=limits
        ) as client:
            streams = asyncio.gather(*(read_numbers(client) for _ in range(50)))
            waits = []
            while not streams.done():
                begin = time.monotonic()
                assert (await client.get("/")).status_code == 200
                waits.append(time.monotonic() - begin)
                await asyncio.sleep(0.2)
            assert await streams == [COUNTDOWN] * 50
    assert sorted(waits)[len(waits) // 2] < 0.5


async def test_swapped_generator_sends_all_in_one_burst_at_the_end():
    with Server("run-asgi", COUNT=20, TICK=0.2) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            order = []

            async def burst():
                async with client.stream("GET", "/sse/swapped/") as response:
                    async for _ in response.aiter_bytes():
                        order.append("event")
                        text.append(_)

            text = []
            stream = asyncio.create_task(burst())
            for _ in range(5):
                await asyncio.sleep(0.2)
                assert (await client.get("/")).status_code == 200
                order.append("page")
            await stream
        assert "must consume synchronous iterators" in server.log()
    assert order[:5] == ["page"] * 5
    assert b"".join(text).count(b"event:i") == 21


async def test_client_that_leaves_ends_its_generator_at_once():
    """The generator sleeps for an hour: had it not ended, it would be cancelled."""
    with Server("run-asgi", TICK=3600) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            assert await read_numbers(client, most=1) == [100]
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.stop)
        assert "Finished server process" in server.log()
        assert "Cancel" not in server.log()


async def test_ctrl_c_ends_open_streams_without_a_traceback():
    with Server("run-asgi", TICK=3600) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            streams = [client.stream("GET", "/sse/") for _ in range(3)]
            parts = []
            for stream in streams:
                response = await stream.__aenter__()
                parts.append(response.aiter_bytes())
                assert b"100" in await anext(parts[-1])
            seconds = await asyncio.to_thread(server.stop)
            for part in parts:  # an orderly end of the body, no broken connection
                assert [rest async for rest in part] == []
        log = server.log()
    assert seconds < 3
    assert "Finished server process" in log
    assert "Cancel 3 running task(s)" in log
    assert "Traceback" not in log
