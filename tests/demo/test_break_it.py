"""README.md's changes to app.py: each made in a copy of the project, and looked at."""

import asyncio
import shutil

import httpx
import pytest
from harness import COUNTDOWN, ROOT, Server, stream_numbers
from page import number, open_tab, state
from playwright.sync_api import expect

README = (ROOT / "README.md").read_text()
FILES = ("Makefile", "app.py", "handlers.py", "responses.py", "requirements.txt")


@pytest.fixture
def change(tmp_path):
    """A function that changes app.py in a copy of the project; returns its folder."""

    def change(function, old, new):
        for name in (*FILES, ".gunicorn.py", ".preflight.py"):
            shutil.copy2(ROOT / name, tmp_path)  # no newer than the stamps in the venv
        app = tmp_path / "app.py"
        before, begin, rest = app.read_text().partition(function)
        assert old in rest
        app.write_text(before + begin + rest.replace(old, new, 1))
        assert f"`{old}`" in README
        assert f"`{new}`" in README or not new
        return tmp_path

    return change


@pytest.mark.slow
async def test_blocking_sleep_stops_every_other_tab_and_is_not_cut(change):
    old, new = "await asyncio.sleep(TICK)", "time.sleep(TICK)"
    folder = change("async def acountdown", old, new)
    order = []

    async def tab(client):
        async for i in stream_numbers(client):
            order.append(i)

    async def page(client):
        assert (await client.get("/")).status_code == 200
        order.append("page")

    with Server("run-asgi", folder, TICK=0.33) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            first = asyncio.create_task(tab(client))
            await asyncio.sleep(3)
            await asyncio.gather(first, page(client), page(client))
    assert order == [*COUNTDOWN, "page", "page"]


async def test_sync_generator_in_the_async_view_is_refused(change):
    folder = change("async def asse", "acountdown()", "countdown()")
    with Server("run-asgi", folder, DEBUG=1) as server:
        response = httpx.get(f"{server.url}/sse/", timeout=20)
    assert response.status_code == 500
    assert "cannot stream generator: use an async generator" in response.text


def test_stream_that_the_page_does_not_close_starts_again(change, context):
    folder = change("const source", "source.close();", "")
    with Server("run-asgi", folder, COUNT=3, TICK=0.2) as server:
        tab = open_tab(context, server)
        expect(number(tab)).to_have_text("Blastoff!")
        expect(state(tab)).to_have_text("no events, reconnecting")
        expect(state(tab)).to_have_text("counting from 3")
        assert server.requests().count("GET /sse/") > 1
