"""The page in a real Chromium: what it shows, and when its stream or server is gone."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.support.server import Server

# How Chromium complains about a cut depends on the version of gunicorn.
CUT = ("net::ERR_INCOMPLETE_CHUNKED_ENCODING", "net::ERR_INVALID_CHUNKED_ENCODING")
REFUSED = "net::ERR_CONNECTION_REFUSED"
# A laptop, 1024 x 768 at 150 and at 200 %, a phone upright and on its side, a frame.
SIZES = [(1280, 720), (683, 512), (512, 384), (320, 568), (568, 320), (200, 135)]


def follow_link(tab, way, **options):
    with tab.context.expect_page() as opened:
        getattr(tab.get_by_role("link"), way)(**options)
    return opened.value


def test_asgi_twelve_tabs_count_at_once(watch, open_tab):
    with Server("run-asgi") as server:
        tabs = [open_tab(server)]
        tabs += [follow_link(tabs[0], "click") for _ in range(11)]
        for tab in tabs:
            expect(tab.locator("#state")).to_have_text("counting from 100")


WAYS = [("click", {}), ("press", {"key": "Enter"}), ("click", {"button": "middle"})]
TURNS = ["127.0.0.1", "localhost", "localhost"]
# On another device, localhost would be that device. (0.0.0.0 leads to this machine.)
NAMES = [("localhost", TURNS), ("0.0.0.0", ["0.0.0.0"] * 3)]


@pytest.mark.parametrize(("host", "names"), NAMES)
@pytest.mark.parametrize(("way", "options"), WAYS)
def test_link_leads_to_both_names_in_turn(open_tab, host, names, way, options):
    """Whether it is followed in one tab again and again, or each time in the newest."""
    with Server("run-asgi", COUNT=0) as server:
        tab = open_tab(server, host)
        tabs = [follow_link(tab, way, **options) for _ in range(2)]
        tabs.append(follow_link(tabs[0], way, **options))
        assert [urlsplit(tab.url).hostname for tab in tabs] == names


@pytest.mark.parametrize("count", [999, 0])
def test_all_of_it_is_seen_at_every_size(watch, open_tab, count):
    watch.append(REFUSED)
    with Server("run-asgi", COUNT=count) as server:
        tab = open_tab(server)
        expect(tab.locator("#count")).to_be_visible()
        assert_all_is_seen(tab)
        server.stop()
        gone = re.compile("^cut at|closed$|^no events")
        expect(tab.locator("#state")).to_have_text(gone)
        assert_all_is_seen(tab)


def assert_all_is_seen(tab):
    for width, height in SIZES:
        tab.set_viewport_size({"width": width, "height": height})
        content = tab.locator(":root").evaluate("e => [e.scrollWidth, e.scrollHeight]")
        assert content == [width, height]  # nothing to scroll
        for element in tab.locator("main > :visible").all():
            expect(element).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("target", ["run-wsgi", "run-asgi"])
def test_server_goes_away_and_comes_back(watch, open_tab, target):
    """The page still names the worker that sent it."""
    watch += [*CUT, REFUSED]
    with Server(target, TICK=0.2) as server:
        tab = open_tab(server)
        expect(tab.locator("#state")).to_have_text("counting from 100")
        interface = target[-4:].upper()
        origin = f"{interface} page from worker {server.worker().pid} "
        expect(tab.locator("main")).to_contain_text(origin)
        expect(tab).to_have_title(re.compile(rf"^\d+ · {interface}$"))
        server.stop()
        expect(tab.locator("#state")).to_have_text("no events, reconnecting")
        server.start()
        expect(tab.locator("#state")).to_have_text("counting from 100")
        expect(tab.locator("main")).to_contain_text(origin)
        assert [re.sub(r"\d+", "N", text) for text in tab.evaluate("heard")] == [
            "waiting for the first event",
            "counting from N",
            "cut at\xa0N, reconnecting",
            "no events, reconnecting",
            "counting from N",
        ]
