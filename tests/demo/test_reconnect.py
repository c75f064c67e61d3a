"""The page when its stream is cut, its server goes away, or another one answers."""

import re
import sys

import pytest
from playwright.sync_api import expect

from tests.support.countdown_page import CUT, REFUSED, SECOND, heard, open_tab, state
from tests.support.server import Server, running

pytestmark = pytest.mark.slow


def test_wsgi_second_tab_has_its_turn_after_the_cut(context, watch):
    watch.expected = CUT
    # The log tells a worker held by the stream from one held by an idle connection.
    with Server("run-wsgi", GUNICORN_CMD_ARGS="--log-level debug") as server:
        first = open_tab(context, server)
        expect(state(first)).to_have_text("counting from 100")
        with context.expect_page(timeout=60 * SECOND) as opened:
            first.get_by_role("link").click()
            below_80 = "count.textContent < 80"
            first.wait_for_function(below_80, polling=100, timeout=40 * SECOND)
            assert context.pages == [first]
        second = opened.value
        # On a slow machine the first reconnects before the second asks for its stream.
        expect(state(second)).to_have_text("counting from 100", timeout=50 * SECOND)
        waiting, counting, cut, *_ = heard(first)
        assert waiting == "waiting for the first event"
        assert counting == "counting from 100"
        number_cut = int(re.fullmatch(r"cut off at (\d+), reconnecting", cut)[1])
        assert abs(number_cut - 70) <= 2
        held, turn = ["GET /", "GET /sse/", "WORKER TIMEOUT"], ["GET /", "GET /sse/"]
        assert server.requests()[:5] == held + turn


@pytest.mark.parametrize("target", ["run-wsgi", "run-asgi"])
def test_server_goes_away_and_comes_back(context, watch, target):
    watch.expected = (*CUT, REFUSED)
    with Server(target, TICK=0.2) as server:
        tab = open_tab(context, server)
        expect(state(tab)).to_have_text("counting from 100")
        server.stop()
        expect(state(tab)).to_have_text("no events, reconnecting")
        server.start()
        expect(state(tab)).to_have_text("counting from 100")
        assert [re.sub(r"\d+", "N", text) for text in heard(tab)] == [
            "waiting for the first event",
            "counting from N",
            "cut off at N, reconnecting",
            "no events, reconnecting",
            "counting from N",
        ]


def test_http_error_is_not_retried(context, watch):
    watch.expected = (REFUSED, "404 (File not found)")
    with Server("run-asgi") as server:
        tab = open_tab(context, server)
        expect(state(tab)).to_have_text("counting from 100")
        server.stop()
        address = ["--bind", "127.0.0.1", str(server.port)]
        with running([sys.executable, "-m", "http.server", *address]):
            expect(state(tab)).to_have_text("no events")
