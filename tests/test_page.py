"""The page at `/` in a real Chromium, on the real servers."""

import re
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from harness import ROOT, Server, free_port
from playwright.sync_api import expect

SECOND = 1000  # Playwright counts in milliseconds
# How Chromium complains about a cut depends on the version of gunicorn.
CUT = ("net::ERR_INCOMPLETE_CHUNKED_ENCODING", "net::ERR_INVALID_CHUNKED_ENCODING")
RECORD_TITLES = """
    titles = [];
    new MutationObserver(() => titles.push(document.title))
        .observe(document.querySelector("title"), {childList: true});
"""
AWAY = "net::ERR_CONNECTION_REFUSED"
DIGITS = re.compile(r"^\d+$")

expect.set_options(timeout=20 * SECOND)


class Watch:
    """What the tabs of a context ask for, and what their consoles complain about.

    expected: how the complaints end that the test provokes; no other may appear.
    """

    def __init__(self, context):
        self.requests = []
        self.complaints = []
        self.expected = ()
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("console", self.note)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def note(self, message):
        if message.type in ("warning", "error"):
            self.complaints.append(message.text)

    def check(self):
        assert [c for c in self.complaints if not c.endswith(self.expected)] == []
        urls = [urlsplit(url) for url in self.requests if not url.startswith("data:")]
        assert {url.path for url in urls} == {"/", "/sse/"}
        assert all(url.hostname.endswith("localhost") for url in urls)


@pytest.fixture
def context(browser):
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def watch(context):
    watch = Watch(context)
    yield watch
    watch.check()


def open_tab(context, server, host="localhost"):
    tab = context.new_page()
    tab.goto(f"http://{host}:{server.port}/")
    return tab


def open_through_link(context, tab):
    with context.expect_page() as opened:
        tab.get_by_role("link").click()
    return opened.value


def number(tab):
    return tab.get_by_role("timer")


def state(tab):
    return tab.get_by_role("status")


def requests(server):
    """The requests in the server's log, and its timeouts, in the order of arrival."""
    return re.findall(r"GET /\S*|WORKER TIMEOUT", server.log())


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


def test_asgi_countdown_ends_at_blastoff_and_stays_there(context, watch):
    with Server("run-asgi", TICK=0.02) as server:
        tab = open_tab(context, server)
        expect(number(tab)).to_have_text("Blastoff!")
        expect(tab).to_have_title("Blastoff! · ASGI")
        expect(state(tab)).to_have_text(re.compile(r"^the stream ended after \d+s$"))
        tab.wait_for_timeout(8 * SECOND)  # Firefox reconnects after 5, Chromium after 3
        expect(number(tab)).to_have_text("Blastoff!")
        # The log knows of the favicon, too, which Playwright does not report.
        assert requests(server) == ["GET /", "GET /sse/"]


def test_wsgi_second_tab_has_its_turn_after_the_cut(context, watch):
    watch.expected = CUT
    # The log tells a worker held by the stream from one held by an idle connection.
    with Server("run-wsgi", GUNICORN_CMD_ARGS="--log-level debug") as server:
        first = open_tab(context, server)
        expect(number(first)).to_have_text(DIGITS)
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
        assert requests(server)[:5] == held + turn


def test_wsgi_counts_again_after_the_cut(context, watch):
    watch.expected = CUT
    short = "--timeout 3 --log-level debug"
    with Server("run-wsgi", TICK=0.1, GUNICORN_CMD_ARGS=short) as server:
        tab = open_tab(context, server)
        expect(state(tab)).to_have_text("counting again from 100")
        happened = tab.locator("#log").inner_text().splitlines()
        assert requests(server) == ["GET /", "GET /sse/", "WORKER TIMEOUT", "GET /sse/"]
    assert [re.sub(r"\d+", "N", line) for line in happened] == [
        "cut off at N after Ns, reconnecting · Ns",
        "counting from N · Ns",
        "waiting for the worker's first event · Ns",
    ]


@pytest.mark.parametrize("target", ["run-wsgi", "run-asgi"])
def test_server_goes_away_and_comes_back(context, watch, target):
    watch.expected = (*CUT, AWAY)
    with Server(target, TICK=0.2) as server:
        tab = open_tab(context, server)
        expect(state(tab)).to_have_text("counting from 100")
        server.stop()
        expect(number(tab)).to_have_text("no events")
        expect(tab.locator("#log")).to_contain_text("cut off at")
        server.start()
        expect(state(tab)).to_have_text("counting again from 100")


@contextmanager
def other_server(*arguments):
    """A server that is none of the Makefile's, for the length of a with block."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield process
    process.kill()
    process.wait()


def test_http_error_is_survived(context, watch):
    watch.expected = (AWAY, "404 (File not found)")
    with Server("run-asgi") as server:
        tab = open_tab(context, server)
        expect(state(tab)).to_have_text("counting from 100")
        server.stop()
        address = ("--bind", "127.0.0.1", str(server.port))
        with other_server("-m", "http.server", *address):
            with tab.expect_response(lambda response: response.status == 404):
                pass
            expect(number(tab)).to_have_text("no events")
        server.start()
        expect(state(tab)).to_have_text("counting again from 100")


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
    with other_server("app.py", "runserver", "--noreload", str(port)) as process:
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
    watch.expected = AWAY
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
