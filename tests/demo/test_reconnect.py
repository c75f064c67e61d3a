"""The page when its stream is cut, its server goes away, or another one answers."""

import re
import sys

import pytest
from harness import Server, running
from page import CUT, REFUSED, SECOND, number, open_tab, state
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
RECORD_TITLES = """
    titles = [];
    new MutationObserver(() => titles.push(document.title))
        .observe(document.querySelector("title"), {childList: true});
"""


def test_wsgi_second_tab_has_its_turn_after_the_cut(context, watch):
    watch.expected = CUT
    # The log tells a worker held by the stream from one held by an idle connection.
    with Server("run-wsgi", GUNICORN_CMD_ARGS="--log-level debug") as server:
        first = open_tab(context, server)
        expect(state(first)).to_have_text("counting from 100")
        first.evaluate(RECORD_TITLES)
        with context.expect_page(timeout=60 * SECOND) as opened:
            first.get_by_role("link").click()
            below_80 = "document.getElementById('count').textContent < 80"
            first.wait_for_function(below_80, polling=100, timeout=40 * SECOND)
            assert context.pages == [first]
        second = opened.value
        # On a slow machine the first reconnects before the second asks for its stream.
        expect(state(second)).to_have_text("counting from 100", timeout=50 * SECOND)
        cut = re.search(r"cut off at (\d+) after (\d+)s", first.inner_text("body"))
        number_cut, after = map(int, cut.groups())
        assert f"{cut[0]} · WSGI" in first.evaluate("titles")
        assert abs(number_cut - 70) <= 2
        assert abs(after - 30) <= 2
        timing = "performance.getEntriesByType('navigation')[0].responseStart"
        assert second.evaluate(timing) > 20 * SECOND
        held, turn = ["GET /", "GET /sse/", "WORKER TIMEOUT"], ["GET /", "GET /sse/"]
        assert server.requests()[:5] == held + turn


def test_wsgi_counts_again_after_the_cut(context, watch):
    watch.expected = CUT
    short = "--timeout 3 --log-level debug"
    with Server("run-wsgi", TICK=0.1, GUNICORN_CMD_ARGS=short) as server:
        tab = open_tab(context, server)
        expect(state(tab)).to_have_text("counting again from 100")
        happened = tab.locator("#log").inner_text().splitlines()
        assert server.requests() == [
            "GET /",
            "GET /sse/",
            "WORKER TIMEOUT",
            "GET /sse/",
        ]
    assert [re.sub(r"\d+", "N", line) for line in happened] == [
        "cut off at N after Ns, reconnecting · Ns",
        "counting from N · Ns",
        "waiting for the worker's first event · Ns",
    ]


@pytest.mark.parametrize("target", ["run-wsgi", "run-asgi"])
def test_server_goes_away_and_comes_back(context, watch, target):
    watch.expected = (*CUT, REFUSED)
    with Server(target, TICK=0.2) as server:
        tab = open_tab(context, server)
        expect(state(tab)).to_have_text("counting from 100")
        server.stop()
        expect(number(tab)).to_have_text("no events")
        expect(tab.locator("#log")).to_contain_text("cut off at")
        server.start()
        expect(state(tab)).to_have_text("counting again from 100")


def test_http_error_is_survived(context, watch):
    watch.expected = (REFUSED, "404 (File not found)")
    with Server("run-asgi") as server:
        tab = open_tab(context, server)
        expect(state(tab)).to_have_text("counting from 100")
        server.stop()
        address = ["--bind", "127.0.0.1", str(server.port)]
        with running([sys.executable, "-m", "http.server", *address]):
            with tab.expect_response(lambda response: response.status == 404):
                pass
            expect(number(tab)).to_have_text("no events")
        server.start()
        expect(state(tab)).to_have_text("counting again from 100")
