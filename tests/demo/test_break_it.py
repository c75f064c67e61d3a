"""README.md's changes to app.py: each made in a copy of the project, and looked at."""

import asyncio
import re
import signal
import subprocess
import time
from contextlib import suppress

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.server import ROOT, Server, signal_group
from tests.support.simulated_tab import COUNTDOWN, stream_numbers

README = (ROOT / "README.md").read_text()
RESUME = "git apply tests/demo/resume.diff"


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


async def test_blocking_sleep_stops_everything_else(change):
    """Until the stream has ended no other tab has its page, and Ctrl-C ends nothing."""
    pair = ("await asyncio.sleep(TICK)", "time.sleep(TICK)")
    numbers = []
    with Server("run-asgi", change("async def acount", pair), COUNT=20, TICK=0.2) as s:
        async with httpx.AsyncClient(base_url=s.url, timeout=60) as client:
            async for i in stream_numbers(client):
                if i == 20:
                    page = asyncio.create_task(client.get("/"))
                if i in (18, 16):
                    signal_group(s.process, signal.SIGINT)
                numbers.append(i)
                assert not page.done()
            # Ctrl-C may come first, now that the worker is awake.
            await asyncio.gather(page, return_exceptions=True)
    assert numbers == COUNTDOWN[-21:]


async def test_sync_generator_in_djangos_response_comes_in_one_burst(change):
    djangos = ("AsyncStreamingHttpResponse", "StreamingHttpResponse")
    folder = change("async def asse", ("acountdown()", "countdown()"), djangos)
    with Server("run-asgi", folder, COUNT=10, TICK=0.2) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            times = [time.monotonic() async for _ in stream_numbers(client)]
        assert "must consume synchronous iterators" in server.log()
    assert len(times) == 11
    assert times[-1] - times[0] < 1  # of two seconds


def test_async_generator_over_wsgi_is_cut_before_its_first_event(change):
    folder = change("def sse", ("countdown()", "acountdown()"))
    with Server("run-wsgi", folder, GUNICORN_CMD_ARGS="--timeout 3") as server:
        with suppress(httpx.RemoteProtocolError):  # no answer, or an error page
            assert "event" not in httpx.get(f"{server.url}/sse/", timeout=60).text
        assert "must consume asynchronous iterators" in server.log()
        assert "WORKER TIMEOUT" in server.log()


def test_sync_generator_in_the_async_view_is_refused(change, open_tab):
    folder = change("async def asse", ("acountdown()", "countdown()"))
    with Server("run-asgi", folder, DEBUG=1) as server:
        state = open_tab(server).locator("#state")
        expect(state).to_have_text("no events")  # nor does it reconnect
        assert "not a sync one: generator" in server.log()


def test_stream_that_the_page_does_not_close_starts_again(change, open_tab):
    folder = change("const source", ("source.close();", ""))
    with Server("run-asgi", folder, COUNT=3, TICK=0.05) as server:
        tab = open_tab(server)
        tab.wait_for_function("/closed.*counting from 3/.test(heard.join())")


@pytest.mark.parametrize("target", ["run-wsgi", "run-asgi"])
def test_tab_counts_on_after_a_restart_of_its_server(project, open_tab, target):
    assert f"`{RESUME}`" in README
    subprocess.run(RESUME.split(), cwd=project, check=True)
    with Server(target, project, TICK=0.2) as server:
        tab = open_tab(server)
        expect(tab.locator("#state")).to_have_text("counting from 100")
        server.stop()
        server.start()
        expect(tab.locator("#state")).to_have_text(re.compile(r"counting from \d\d$"))
        _, cut, again = re.findall(r"\d+", str(tab.evaluate("heard")))
        assert int(again) == int(cut) - 1
