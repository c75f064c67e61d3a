"""README.md's changes to app.py: each made in a copy of the project, and looked at."""

import asyncio
import re
import shutil
import signal
import sys
from contextlib import suppress

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.countdown_page import SECOND, number, open_tab
from tests.support.server import ROOT, Server, signal_group
from tests.support.tab import COUNTDOWN, stream_numbers

pytestmark = pytest.mark.slow
README = (ROOT / "README.md").read_text()
FILES = ("Makefile", "app.py", "handlers.py", "responses.py", "requirements.txt")
HIDDEN = (".gunicorn.py", ".preflight.py", "tests/support/knobs.py")
RECORD_NUMBERS = """
    numbers = [];
    EventSource = class extends EventSource {
        constructor(url) {
            super(url);
            this.addEventListener("i", (e) => numbers.push(JSON.parse(e.data).i));
        }
    };
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the project, with the same .venv."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for name in FILES + HIDDEN:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)  # no newer than the venv's stamps
    return tmp_path


@pytest.fixture
def change(project):
    """A function that changes app.py, from a line on, in a copy; returns its folder."""

    def change(line, *pairs):
        app = project / "app.py"
        before, begin, rest = app.read_text().partition(line)
        for old, new in pairs:
            assert old in rest
            rest = rest.replace(old, new, 1)
            assert f"`{old}`" in README
            assert f"`{new}`" in README or not new
        app.write_text(before + begin + rest)
        return project

    return change


@pytest.fixture
def exercise(project):
    """A copy with README.md's diff applied."""
    app = project / "app.py"
    text = app.read_text()
    for hunk in re.search("```diff\n@@\n(.*?)```", README, re.S)[1].split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(f"\n{old}") == 1
        text = text.replace(f"\n{old}", f"\n{new}")
    app.write_text(text)
    return project


@pytest.fixture
def recorder(context):
    """A browser context whose tabs record what comes from their streams."""
    context.add_init_script(RECORD_NUMBERS)
    return context


async def test_blocking_sleep_stops_everything_else_and_is_not_cut(change):
    """For 31 seconds no other tab has its page, and Ctrl-C, twice, ends nothing."""
    pair = ("await asyncio.sleep(TICK)", "time.sleep(TICK)")
    order = []

    async def page(client):
        with suppress(httpx.TransportError):  # Ctrl-C may come first in the end
            await client.get("/")
        order.append("page")

    with Server("run-asgi", change("async def acount", pair), COUNT=20, TICK=1.5) as s:
        async with httpx.AsyncClient(base_url=s.url, timeout=60) as client:
            async for i in stream_numbers(client):
                order.append(i)
                if i == 20:
                    other = asyncio.create_task(page(client))
                if i in (18, 16):
                    signal_group(s.process, signal.SIGINT)
            await other
    assert order == [*COUNTDOWN[-21:], "page"]


async def test_sync_generator_in_the_async_view_is_refused(change):
    folder = change("async def asse", ("acountdown()", "countdown()"))
    with Server("run-asgi", folder, DEBUG=1) as server:
        response = httpx.get(f"{server.url}/sse/", timeout=20)
    assert response.status_code == 500
    assert "generator is sync: use an async generator" in response.text


async def test_sync_generator_in_djangos_response_comes_in_one_burst(change):
    """While it is collected, in a thread, others have their page."""
    djangos = ("AsyncStreamingHttpResponse", "StreamingHttpResponse")
    folder = change("async def asse", ("acountdown()", "countdown()"), djangos)
    order = []

    async def read(client):
        async with client.stream("GET", "/sse/") as response:
            async for text in response.aiter_text():
                order.append(text)

    with Server("run-asgi", folder, COUNT=20, TICK=0.1) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            reading = asyncio.create_task(read(client))
            for _ in range(3):
                await asyncio.sleep(0.2)
                assert (await client.get("/")).status_code == 200
                order.append("page")
            await reading
        assert "must consume synchronous iterators" in server.log()
    assert order[:3] == ["page"] * 3
    assert "".join(order[3:]).count("event:i") == 21


async def test_async_generator_over_wsgi_is_cut_before_its_first_event(change):
    folder = change("def sse", ("countdown()", "acountdown()"))
    with Server("run-wsgi", folder, GUNICORN="--timeout 3") as server:
        # What is left of the request depends on the version of gunicorn.
        with suppress(httpx.RemoteProtocolError):
            response = httpx.get(f"{server.url}/sse/", timeout=60)
            assert response.status_code == 500
            assert "event" not in response.text
        assert "must consume asynchronous iterators" in server.log()
        assert "WORKER TIMEOUT" in server.log()


def test_stream_that_the_page_does_not_close_starts_again(change, recorder):
    folder = change("const source", ("source.close();", ""))
    with Server("run-asgi", folder, COUNT=3, TICK=0.05) as server:
        tab = open_tab(recorder, server)
        tab.wait_for_function("numbers.length > 4")
        assert tab.evaluate("numbers.slice(0, 5)") == [3, 2, 1, 0, 3]


def test_tabs_that_were_cut_go_on_where_they_were(exercise, recorder):
    """gunicorn cuts its tab after three seconds; uvicorn is ended and started again."""
    knobs = {"COUNT": 20, "TICK": 0.2}
    short = "--timeout 3 --log-level debug"
    with (
        Server("run-wsgi", exercise, GUNICORN=short, **knobs) as wsgi,
        Server("run-asgi", exercise, **knobs) as asgi,
    ):
        tabs = [open_tab(recorder, server) for server in (wsgi, asgi)]
        tabs[1].wait_for_function("numbers.length > 4")
        asgi.stop()
        asgi.start()
        for tab in tabs:
            expect(number(tab)).to_have_text("Blastoff!", timeout=40 * SECOND)
            assert tab.evaluate("numbers") == COUNTDOWN[-21:]
        for server in (wsgi, asgi):
            assert server.requests().count("GET /sse/") > 1
