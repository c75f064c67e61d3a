"""The page at `/` in a real Chromium, on the real servers."""

import re
import sys
from urllib.parse import urlsplit

import httpx
import pytest
from harness import Server, free_port, running
from page import REFUSED, number, open_tab, open_through_link, state
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
DIGITS = re.compile(r"^\d+$")


def test_asgi_twelve_tabs_count_at_once(context, watch):
    with Server("run-asgi") as server:
        tabs = [open_tab(context, server)]
        tabs += [open_through_link(context, tabs[0]) for _ in range(11)]
        for tab in tabs:
            expect(number(tab)).to_have_text(DIGITS)
        begin = [int(number(tab).inner_text()) for tab in tabs]
        for tab, value in zip(tabs, begin, strict=True):
            expect(number(tab)).not_to_have_text(str(value))
            expect(state(tab)).to_have_text("counting from 100")
        assert all(int(number(tab).inner_text()) > 0 for tab in tabs)
    names = ["localhost", *(f"tab{n}.localhost" for n in range(2, 13))]
    assert [urlsplit(tab.url).hostname for tab in tabs] == names


def test_title_carries_number_and_interface(context, watch):
    with Server("run-asgi") as server:
        tab = open_tab(context, server)
        expect(number(tab)).to_have_text(DIGITS)
        both = "[document.title, document.getElementById('count').textContent]"
        title, value = tab.evaluate(both)
    assert title == f"{value} · ASGI"


@pytest.mark.parametrize(
    ("target", "name"), [("run-wsgi", "gunicorn"), ("run-asgi", "uvicorn")]
)
def test_page_names_server_and_worker(target, name):
    with Server(target) as server:
        pid = server.worker().pid
        page = httpx.get(server.url).text
    assert f"page sent by {name}, worker pid {pid}" in page


def test_page_names_runserver():
    port = free_port()
    command = [sys.executable, "app.py", "runserver", "--noreload", str(port)]
    with running(command) as process:
        page = httpx.Client(transport=httpx.HTTPTransport(retries=6)).get(
            f"http://127.0.0.1:{port}/"
        )
    assert f"page sent by app.py, worker pid {process.pid}" in page.text


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("localhost", ["tab2", "tab3"]),
        ("127.0.0.1", ["tab2", "tab3"]),
        ("tab7.localhost", ["tab8", "tab9"]),
    ],
)
def test_each_click_opens_another_name(context, host, names):
    with Server("run-asgi") as server:
        tab = open_tab(context, server, host)
        opened = [open_through_link(context, tab).url for _ in names]
    assert opened == [f"http://{name}.localhost:{server.port}/" for name in names]


def test_screen_reader_hears_states_not_seconds(context, watch):
    context.add_init_script(
        """window.heard = [];
        new MutationObserver((mutations) => {
            for (const { target } of mutations)
                if (target.localName === "output") heard.push(target.textContent);
        }).observe(document, { childList: true, subtree: true });"""
    )
    with Server("run-asgi", TICK=0.03) as server:
        tab = open_tab(context, server)
        expect(number(tab)).to_have_text("Blastoff!")
        waiting, counting, ended = tab.evaluate("heard")
    assert waiting == "waiting for the worker's first event"
    assert counting == "counting from 100"
    assert ended.startswith("the stream ended after")


@pytest.mark.parametrize("width", [320, 480])
def test_page_fits_a_narrow_window(context, watch, width):
    watch.expected = REFUSED
    with Server("run-asgi", COUNT=999) as server:
        tab = open_tab(context, server)
        tab.set_viewport_size({"width": width, "height": 640})
        expect(number(tab)).to_have_text(DIGITS)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        server.stop()
        expect(number(tab)).to_have_text(re.compile("^cut off at|^no events$"))
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_page_without_javascript_says_so(browser):
    context = browser.new_context(java_script_enabled=False)
    with Server("run-asgi") as server:
        tab = open_tab(context, server)
        expect(tab.locator("noscript")).to_be_visible()
    context.close()
