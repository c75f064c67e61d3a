"""The eleven claims of the post, in its order, each on the real servers.

Where the post is no longer right, or never was, a claim's tests show what is true.
"""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median
from types import SimpleNamespace

import httpx
import pytest
from playwright.sync_api import expect

import app
from handlers import ASGIHandler
from tests.support.countdown_page import SECOND, number, open_tab
from tests.support.in_process import get, serve
from tests.support.load import fetch_page
from tests.support.server import Server, run
from tests.support.tab import COUNTDOWN, browse_until, first, numbers, read_numbers

pytestmark = pytest.mark.slow
ON_OURS = "app:asgi_application"
ON_DJANGOS_OWN = "tests.programs.foundations:stock"
THREADS, GEVENT = "--threads 4", "--worker-class gevent"
# The options of a gunicorn, its tabs, and how many of them count.
GUNICORNS = [("", 2, 1), (THREADS, 5, 4), (GEVENT, 5, 5)]


@pytest.fixture(scope="module", autouse=True)
def gunicorns(request):
    """What the tabs of three gunicorns see: it takes 65 seconds, other tests meanwhile.

    A future for each of their options. The sync worker is watched until two streams are
    cut, the others until their tabs have counted for more than 30 seconds.
    """
    wanted = any(item.get_closest_marker("late") for item in request.session.items)
    with ThreadPoolExecutor() as pool:
        yield {o[0]: pool.submit(watch, *o) for o in GUNICORNS if wanted}


def watch(options, tabs, counting):
    def done(*tabs):
        if not options:
            return len(cuts(tabs)) == 2
        return sum(len(numbers(tab)) > 32 for tab in tabs) == counting

    with Server("run-wsgi", GUNICORN=options) as server:
        tabs = asyncio.run(browse_until(done, server.url, tabs, seconds=120))
        return SimpleNamespace(tabs=tabs, log=server.log())


def cuts(tabs):
    """When streams were cut."""
    return sorted(r.at for records in tabs for r in records if r.kind == "cut")


def client(server):
    no_limit = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=server.url, timeout=60, limits=no_limit)


async def test_1_plain_page_costs_about_the_same_over_wsgi_and_asgi():
    """CPU time, to within a factor of three; `make bench` measures it."""
    targets = [("run-wsgi", ""), ("run-wsgi", GEVENT), ("run-asgi", "")]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(Server(target, GUNICORN=options))
            for target, options in targets
        ]
        # In turns, so that whatever else the machine does hits all of them.
        rounds = [[await page_cpu(server) for server in servers] for _ in range(3)]
    sync, gevent, asgi = (median(cpu) for cpu in zip(*rounds, strict=True))
    assert max(sync, gevent, asgi) < 3 * min(sync, gevent, asgi)


async def page_cpu(server, pages=100):
    """Seconds of CPU that the worker takes for so many pages."""
    worker = server.worker()
    before = worker.cpu_times()
    for _ in range(pages):
        await fetch_page(server.port)
    after = worker.cpu_times()
    return after.user + after.system - before.user - before.system


@pytest.mark.late
@pytest.mark.parametrize(("options", "counting"), [(THREADS, 4), (GEVENT, 5)])
def test_2_threads_and_gevent_stream_over_wsgi(gunicorns, options, counting):
    """Side by side, and past the 30 seconds after which a sync worker is cut."""
    seen = gunicorns[options].result()
    for tab in seen.tabs[:counting]:
        assert numbers(tab)[:33] == COUNTDOWN[:33]
    for tab in seen.tabs[counting:]:  # all threads are taken
        assert [record.kind for record in tab] == ["open"]
    assert cuts(seen.tabs) == []
    assert "WORKER TIMEOUT" not in seen.log


async def test_3_gunicorn_serves_it_with_one_worker():
    with Server("run-wsgi") as server:
        async with client(server) as tab:
            assert await read_numbers(tab, most=2) == [100, 99]
        assert len(server.workers()) == 1


@pytest.fixture
def turns(gunicorns):
    """What two tabs of a sync worker see, until two streams have been cut."""
    seen = gunicorns[""].result()
    return SimpleNamespace(one=seen.tabs[0], two=seen.tabs[1], log=seen.log)


@pytest.mark.late
def test_4_countdown_stops_at_70(turns):
    cut = first(turns.one, "cut")
    assert abs(cut.value - 70) <= 2
    assert numbers(turns.one)[: 101 - cut.value] == COUNTDOWN[: 101 - cut.value]
    assert 28 < cut.at - first(turns.one, "number").at < 40


@pytest.mark.late
def test_5_second_page_does_not_load_until_the_first_stream_is_cut(turns):
    one, two = turns.one, turns.two
    order = [(one, "page"), (two, "open"), (one, "cut"), (two, "page")]
    times = [first(tab, kind).at for tab, kind in order]
    assert times == sorted(times)


@pytest.mark.late
def test_6_worker_times_out_every_31_seconds(turns):
    """Two tabs take turns: no browser's wait before it reconnects comes between."""
    first_cut, second_cut = cuts([turns.one, turns.two])
    boot = first(turns.two, "page").at - first_cut
    assert 29 < second_cut - first_cut - boot < 40
    assert turns.log.count("WORKER TIMEOUT") == 2


async def test_7_index_need_not_be_an_async_view():
    """Django runs a sync view in a thread; an async one needs none."""
    threads = []

    def index(request):
        threads.append(threading.current_thread())
        return app.index(request)

    async def aindex(request):
        threads.append(threading.current_thread())
        return await app.aindex(request)

    for view in (index, aindex):
        assert (await get(serve(ASGIHandler, view)))[0] == 200
    here = threading.current_thread()
    assert [thread is here for thread in threads] == [False, True]


async def test_7_async_generator_streams_in_djangos_own_response():
    """No `TypeError: 'async_generator' object is not iterable` since Django 4.2."""
    with Server("run-asgi", ASGI=ON_DJANGOS_OWN) as server:
        async with client(server) as tab:
            assert await read_numbers(tab, most=3) == [100, 99, 98]


@pytest.mark.parametrize("asgi", [ON_DJANGOS_OWN, ON_OURS])
async def test_8_generator_ends_when_its_client_leaves(asgi):
    """It sleeps for an hour: had it not ended, the server would have to cancel it."""
    with Server("run-asgi", ASGI=asgi, TICK=3600) as server:
        async with client(server) as tab:
            assert await read_numbers(tab, most=1) == [100]
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.stop)
        assert "Finished server process" in server.log()
        assert "Cancel" not in server.log()


async def test_9_uvicorn_serves_many_tabs_with_one_worker():
    """Fifty streams, and the page meanwhile."""
    with Server("run-asgi", COUNT=10, TICK=0.5) as server:
        async with client(server) as tabs:
            streams = asyncio.gather(*(read_numbers(tabs) for _ in range(50)))
            pages = 0
            while not streams.done():
                assert (await tabs.get("/")).status_code == 200
                pages += 1
                await asyncio.sleep(0.2)
            assert await streams == [COUNTDOWN[-11:]] * 50
        assert len(server.workers()) == 1
    assert pages > 2  # were it blocked, the first would come after the last stream


@pytest.mark.parametrize("target", ["run-wsgi", "run-asgi"])
def test_10_debug_pages(target):
    with Server(target, DEBUG=1) as server:
        page = httpx.get(f"{server.url}/unknown/", timeout=20)
    assert page.status_code == 404
    assert "DEBUG = True" in page.text


def test_10_management_commands():
    manage = [sys.executable, "app.py"]
    status, output, _ = run([*manage, "check"])
    assert (status, "no issues" in output) == (0, True)
    command = "import app; print(app.COUNT, app.settings.DEBUG)"
    _, output, _ = run([*manage, "shell", "--command", command], {"DEBUG": "0"})
    assert output.splitlines()[-1] == "100 False"


def test_11_blastoff_at_0(context, watch):
    """The page then closes its stream: the browser would start it again after 3 s."""
    with Server("run-asgi", COUNT=20, TICK=0.02) as server:
        tab = open_tab(context, server)
        expect(number(tab)).to_have_text("Blastoff!")
        expect(tab).to_have_title("Blastoff! · ASGI")
        tab.wait_for_timeout(5 * SECOND)
        expect(number(tab)).to_have_text("Blastoff!")
        # The log knows of the favicon, too, which Playwright does not report.
        assert server.requests() == ["GET /", "GET /sse/"]
