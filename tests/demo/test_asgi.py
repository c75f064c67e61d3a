"""The ASGI half on real uvicorn, beyond what the post says of it."""

import asyncio

import httpx
from harness import Server


async def test_swapped_generator_sends_all_in_one_burst_at_the_end():
    order = []

    async def read(client):
        async with client.stream("GET", "/sse/swapped/") as response:
            async for text in response.aiter_text():
                order.append(text)

    with Server("run-asgi", COUNT=20, TICK=0.2) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            reading = asyncio.create_task(read(client))
            for _ in range(5):
                await asyncio.sleep(0.2)
                assert (await client.get("/")).status_code == 200
                order.append("page")
            await reading
        assert "must consume synchronous iterators" in server.log()
    assert order[:5] == ["page"] * 5
    assert "".join(order).count("event:i") == 21


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
