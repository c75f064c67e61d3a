"""The twelve claims of the post, in its order, most of them on the real servers.

Where the post is no longer right, or never was, a claim's tests show what is true.
"""

import asyncio
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django.core.asgi import get_asgi_application
from playwright.sync_api import expect

import app  # noqa: F401, configures Django
from tests.programs.bench import page_cost
from tests.support.load import fetch_page
from tests.support.server import Server, free_port, running, wait_for_page
from tests.support.simulated_tab import COUNTDOWN, browse_until, received

pytestmark = pytest.mark.slow
ON_DJANGOS_OWN = "tests.programs.alternatives:stock"
# gunicorn's options, and how many of five tabs count. With these, a sync worker would
# be killed after three seconds.
GUNICORNS = [("--threads 4 --timeout 3", 4), ("--worker-class gevent --timeout 3", 5)]


@pytest.fixture(scope="module", autouse=True)
def two_cuts(request):
    """Two tabs of a sync worker, in the background: it takes 65 seconds."""
    wanted = any("turns" in item.fixturenames for item in request.session.items)
    with ThreadPoolExecutor() as pool:
        yield pool.submit(watch_two_cuts) if wanted else None


@pytest.fixture
def turns(two_cuts):
    """What each tab saw until two streams had been cut, and the server's log."""
    return two_cuts.result()


def watch_two_cuts():
    with Server("run-wsgi") as server:
        two = browse_until(lambda *tabs: len(cuts(tabs)) == 2, server.url, 2, 120)
        return *asyncio.run(two), server.log()


def cuts(tabs):
    """When streams were cut."""
    return sorted(r.at for records in tabs for r in records if r.kind == "cut")


def first(records, kind):
    """A tab's first record of a kind."""
    return next(record for record in records if record.kind == kind)


def first_event(server):
    """Open the stream, read its first event, and leave."""
    with httpx.stream("GET", f"{server.url}/sse/", timeout=20) as stream:
        return next(stream.iter_text())


async def test_1_plain_page_costs_about_the_same_over_wsgi_and_asgi():
    """CPU time, to within a factor of three; `make bench` measures it."""
    with Server("run-wsgi") as gunicorn, Server("run-asgi") as uvicorn:
        wsgi, asgi = await page_cost(gunicorn), await page_cost(uvicorn)
    assert max(wsgi, asgi) < 3 * min(wsgi, asgi)


@pytest.mark.parametrize(("options", "counting"), GUNICORNS)
async def test_2_threads_and_gevent_stream_over_wsgi(options, counting):
    """Side by side, and for longer than a sync worker may."""

    def five_seconds(*tabs):
        return sum(len(received(tab)) > 25 for tab in tabs) == counting

    with Server("run-wsgi", GUNICORN_CMD_ARGS=options, TICK=0.2) as server:
        tabs = await browse_until(five_seconds, server.url, 5, seconds=30)
    for tab in tabs[:counting]:
        assert received(tab)[:25] == COUNTDOWN[:25]
    for tab in tabs[counting:]:  # all threads are taken
        assert [record.kind for record in tab] == ["open"]


def test_3_gunicorn_serves_it_with_one_worker():
    with Server("run-wsgi") as server:
        assert '"i": 100}' in first_event(server)
        assert server.log().count("Booting worker") == 1


def test_4_countdown_stops_at_70(turns):
    one, _, _ = turns
    cut = first(one, "cut")
    assert abs(cut.value - 70) <= 2
    assert received(one)[: 101 - cut.value] == COUNTDOWN[: 101 - cut.value]
    assert 28 < cut.at - first(one, "number").at < 40


def test_5_second_page_does_not_load_until_the_first_stream_is_cut(turns):
    one, two, _ = turns
    order = [(one, "page"), (two, "open"), (one, "cut"), (two, "page")]
    times = [first(tab, kind).at for tab, kind in order]
    assert times == sorted(times)


def test_6_worker_times_out_every_31_seconds(turns):
    """Two tabs take turns: no browser's wait before it reconnects comes between."""
    one, two, log = turns
    first_cut, second_cut = cuts([one, two])
    boot = first(two, "page").at - first_cut
    assert 29 < second_cut - first_cut - boot < 40
    assert log.count("WORKER TIMEOUT") == 2


async def test_7_index_need_not_be_an_async_view():
    """Django's own handler runs the plain `index` as well."""
    django = httpx.ASGITransport(get_asgi_application())
    async with httpx.AsyncClient(transport=django, base_url="http://localhost") as tab:
        assert "WSGI" in (await tab.get("/")).text


def test_8_async_generator_streams_in_djangos_own_response():
    """No `TypeError: 'async_generator' object is not iterable` since Django 4.2."""
    with Server("run-asgi", ASGI=ON_DJANGOS_OWN) as server:
        assert '"i": 100}' in first_event(server)


@pytest.mark.parametrize("asgi", [ON_DJANGOS_OWN, "app:asgi_application"])
def test_9_generator_ends_when_its_client_leaves(asgi):
    """It sleeps for an hour: had it not ended, the server would have to cancel it."""
    with Server("run-asgi", ASGI=asgi, TICK=3600) as server:
        assert '"i": 100}' in first_event(server)
        time.sleep(0.5)
        server.stop()
        assert "Finished server process" in server.log()
        assert "Cancel" not in server.log()


async def test_10_uvicorn_serves_many_tabs_with_one_worker():
    """Fifty streams, without a thread for each, and the page meanwhile."""
    pages = 0

    def all_ended(*tabs):
        return all(received(tab)[-1:] == [0] for tab in tabs)

    with Server("run-asgi", COUNT=20, TICK=0.4) as server:
        tabs = asyncio.create_task(browse_until(all_ended, server.url, 50, seconds=60))
        while not tabs.done():
            await fetch_page(server.port)
            pages += 1
            assert server.worker().num_threads() < 25
            await asyncio.sleep(0.2)
        assert [received(tab) for tab in await tabs] == [COUNTDOWN[-21:]] * 50
        assert server.log().count("Started server process") == 1
    assert pages > 2  # were it blocked, the first would come after the last stream


@pytest.mark.parametrize("target", ["run-wsgi", "run-asgi"])
def test_11_debug_pages(target):
    with Server(target, DEBUG=1) as server:
        page = httpx.get(f"{server.url}/unknown/", timeout=20)
    assert "DEBUG = True" in page.text


async def test_11_runserver_hides_the_difference():
    """It is a management command; its threads stream to several tabs at once."""
    port = free_port()
    command = [sys.executable, "app.py", "runserver", "--noreload", str(port)]
    url = f"http://127.0.0.1:{port}"
    with running(command) as process:
        wait_for_page(url, process)
        await browse_until(lambda *tabs: all(map(received, tabs)), url, 3, seconds=30)


def test_12_blastoff_at_0(watch, open_tab):
    """The page then closes its stream: the browser would start it again after 3 s."""
    with Server("run-asgi", COUNT=20, TICK=0.02) as server:
        tab = open_tab(server)
        expect(tab.locator("#count")).to_have_text("Blastoff!")
        expect(tab).to_have_title("Blastoff! · ASGI")
        tab.wait_for_timeout(5_000)
        expect(tab.locator("#count")).to_have_text("Blastoff!")
        # The log knows of the favicon, too, which Playwright does not report.
        asked = re.findall(r"GET \S+", server.log())[1:]  # without that of Server
        assert asked == ["GET /", "GET /sse/"]
