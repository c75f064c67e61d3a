"""The nine claims of the post, in its order, each on the real servers.

Claims 5 and 6 were true in 2020: their tests show what is true today.
"""

import asyncio
import time
from types import SimpleNamespace

import httpx
import pytest
from harness import (
    COUNTDOWN,
    Server,
    browse_until,
    first,
    manage,
    numbers,
    read_numbers,
)
from page import SECOND, number, open_tab
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
ON_OURS = "app:asgi_application"
ON_DJANGOS_OWN = "tests.programs.foundations:stock"


@pytest.fixture(scope="module")
def turns():
    """What two tabs see until gunicorn has cut two streams: 65 seconds."""
    with Server("run-wsgi") as server:
        one, two = asyncio.run(
            browse_until(
                lambda one, two: len(cuts(one + two)) == 2,
                server.url,
                tabs=2,
                seconds=120,
            )
        )
        return SimpleNamespace(one=one, two=two, log=server.log())


def cuts(records):
    return sorted(record.at for record in records if record.kind == "cut")


async def test_1_gunicorn_serves_it_with_one_worker():
    with Server("run-wsgi") as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            assert await read_numbers(client, most=2) == [100, 99]
        assert len(server.workers()) == 1


def test_2_countdown_stops_at_70(turns):
    counted, cut = numbers(turns.one), first(turns.one, "cut")
    assert 69 <= cut.value <= 71
    until_cut = COUNTDOWN[: COUNTDOWN.index(cut.value) + 1]
    assert counted[: len(until_cut)] == until_cut
    assert 29 < cut.at - first(turns.one, "number").at < 33


def test_3_second_page_does_not_load_until_the_first_stream_is_cut(turns):
    assert first(turns.one, "page").at < first(turns.two, "open").at
    assert first(turns.two, "open").at < first(turns.one, "cut").at - 20
    assert first(turns.two, "page").at > first(turns.one, "cut").at


def test_4_worker_times_out_every_31_seconds(turns):
    """Two tabs take turns: no browser's wait before it reconnects comes between."""
    one, two = cuts(turns.one + turns.two)
    boot = first(turns.two, "page").at - one  # half a second, or more on a busy machine
    assert 30 <= two - one - boot < 33
    assert turns.log.count("WORKER TIMEOUT") == 2


async def test_5_async_generator_streams_in_djangos_own_response():
    with Server("run-asgi", ASGI=ON_DJANGOS_OWN) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            assert await read_numbers(client, most=3) == [100, 99, 98]


async def test_5_async_generator_over_wsgi_is_cut_before_its_first_event():
    with Server("run-wsgi", GUNICORN_CMD_ARGS="--timeout 3") as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            # What is left of the request depends on the version of gunicorn.
            try:
                response = await client.get("/sse/swapped/")
            except httpx.RemoteProtocolError:
                pass
            else:
                assert response.status_code == 500
                assert "event" not in response.text
        assert "must consume asynchronous iterators" in server.log()
        assert "WORKER TIMEOUT" in server.log()


@pytest.mark.parametrize("asgi", [ON_DJANGOS_OWN, ON_OURS])
async def test_6_generator_ends_when_its_client_leaves(asgi):
    """It sleeps for an hour: had it not ended, the server would have to cancel it."""
    with Server("run-asgi", ASGI=asgi, TICK=3600) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            assert await read_numbers(client, most=1) == [100]
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.stop)
        assert "Finished server process" in server.log()
        assert "Cancel" not in server.log()


async def test_7_uvicorn_serves_many_tabs_with_one_worker():
    """Fifty streams, and the page meanwhile."""
    with Server("run-asgi", COUNT=10, TICK=0.5) as server:
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
            assert await streams == [COUNTDOWN[-11:]] * 50
        assert len(server.workers()) == 1
    assert sorted(waits)[len(waits) // 2] < 2  # were it blocked: 5 seconds and more


@pytest.mark.parametrize("target", ["run-wsgi", "run-asgi"])
def test_8_debug_pages(target):
    with Server(target, DEBUG=1) as server:
        page = httpx.get(f"{server.url}/unknown/", timeout=20)
    assert page.status_code == 404
    assert "DEBUG = True" in page.text


def test_8_management_commands():
    status, output, _ = manage("check")
    assert status == 0
    assert "no issues" in output


def test_9_blastoff_at_0(context, watch):
    """The page then closes its stream: the browser would start it again after 3 s."""
    with Server("run-asgi", COUNT=20, TICK=0.02) as server:
        tab = open_tab(context, server)
        expect(number(tab)).to_have_text("Blastoff!")
        expect(tab).to_have_title("Blastoff! · ASGI")
        tab.wait_for_timeout(6 * SECOND)
        expect(number(tab)).to_have_text("Blastoff!")
        # The log knows of the favicon, too, which Playwright does not report.
        assert server.requests() == ["GET /", "GET /sse/"]
