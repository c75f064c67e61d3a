"""The page at `/` in a real Chromium, on the real servers."""

import re
import sys
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.countdown_page import (
    REFUSED,
    heard,
    number,
    open_tab,
    open_through_link,
    state,
)
from tests.support.server import Server, free_port, running

pytestmark = pytest.mark.slow
DIGITS = re.compile(r"^\d+$")
SIZES = [
    (1280, 720),
    (683, 512),  # 1024 x 768 at 150 %
    (512, 384),  # and at 200 %
    (390, 844),  # a phone
    (320, 640),
]


def test_asgi_twelve_tabs_count_at_once(context, watch):
    with Server("run-asgi") as server:
        tabs = [open_tab(context, server)]
        tabs += [open_through_link(context, tabs[0]) for _ in range(11)]
        for tab in tabs:
            expect(number(tab)).to_have_text(DIGITS)
        begin = [number(tab).inner_text() for tab in tabs]
        for tab, value in zip(tabs, begin, strict=True):
            expect(number(tab)).not_to_have_text(value)
            expect(state(tab)).to_have_text("counting from 100")
        assert all(int(number(tab).inner_text()) > 0 for tab in tabs)


def test_title_carries_number_and_interface(context, watch):
    with Server("run-asgi") as server:
        tab = open_tab(context, server)
        expect(number(tab)).to_have_text(DIGITS)
        title, value = tab.evaluate("[document.title, count.textContent]")
    assert title == f"{value} · ASGI"


@pytest.mark.parametrize(
    ("target", "name"), [("run-wsgi", "gunicorn"), ("run-asgi", "uvicorn")]
)
def test_page_names_server_and_worker(target, name):
    with Server(target) as server:
        pid = server.worker().pid
        page = httpx.get(server.url).text
    assert f"{name}, worker pid {pid}" in page


def test_page_names_runserver():
    port = free_port()
    command = [sys.executable, "app.py", "runserver", "--noreload", str(port)]
    with running(command) as process:
        page = httpx.Client(transport=httpx.HTTPTransport(retries=6)).get(
            f"http://127.0.0.1:{port}/"
        )
    assert f"app.py, worker pid {process.pid}" in page.text


def test_each_click_opens_another_name(context):
    """But for a host that is none of this machine's: a phone has its own localhost."""
    cases = {
        "localhost": ["tab2.localhost", "tab3.localhost"],
        "127.0.0.1": ["tab2.localhost", "tab3.localhost"],
        "tab7.localhost": ["tab8.localhost", "tab9.localhost"],
        "0.0.0.0": ["0.0.0.0", "0.0.0.0"],  # reaches the server, as no other name would
    }
    with Server("run-asgi") as server:
        for host, names in cases.items():
            tab = open_tab(context, server, host)
            opened = [open_through_link(context, tab) for _ in names]
            assert [urlsplit(page.url).hostname for page in opened] == names
            expect(state(opened[-1])).to_have_text("counting from 100")
            for page in context.pages:
                page.close()


def test_screen_reader_hears_states_not_seconds(context, watch):
    with Server("run-asgi", TICK=0.03) as server:
        tab = open_tab(context, server)
        expect(number(tab)).to_have_text("Blastoff!")
        assert heard(tab) == [
            "waiting for the first event",
            "counting from 100",
            "the stream is closed",
        ]


def test_all_of_it_is_seen_at_every_size(context, watch):
    watch.expected = REFUSED
    with Server("run-asgi", COUNT=999) as server:
        tab = open_tab(context, server)
        expect(number(tab)).to_have_text(DIGITS)
        assert_all_is_seen(tab)
        server.stop()
        expect(state(tab)).to_have_text(re.compile("^cut off at|^no events"))
        assert_all_is_seen(tab)


def assert_all_is_seen(tab):
    for width, height in SIZES:
        tab.set_viewport_size({"width": width, "height": height})
        root = (
            "(({scrollWidth: w, scrollHeight: h}) => [w, h])(document.documentElement)"
        )
        assert tab.evaluate(root) == [width, height]  # nothing to scroll
        for element in tab.locator("main > :visible").all():
            expect(element).to_be_in_viewport(ratio=1)


def test_page_without_javascript_says_so(browser):
    context = browser.new_context(java_script_enabled=False)
    with Server("run-asgi") as server:
        tab = open_tab(context, server)
        expect(tab.locator("noscript")).to_be_visible()
    context.close()
