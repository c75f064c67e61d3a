"""`make tabs`: both halves in one window of a real Chromium."""

import re
import signal
import socket
import time
from contextlib import contextmanager
from subprocess import PIPE

import httpx
import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.server import free_port, make, run_make, running, signal_group

COUNTING = "counting from 100"


@pytest.fixture
def window(context):
    window = context.new_page()
    window.set_viewport_size({"width": 1280, "height": 720})  # a small projector
    return window


@contextmanager
def make_tabs(*knobs, port=None, browser="true"):  # the command, which opens nothing
    """Run `make tabs`; yield its URL. Then Ctrl-C ends it, and no process is left."""
    command = make("tabs", f"PORT={port or free_port()}", *knobs)
    with running(command, {"BROWSER": browser}, stdout=PIPE) as process:
        assert process.stdout.readline() == "Starting both servers ...\n"
        words = r"Opening (\S+) in your browser\. Ctrl-C ends both servers\.\n"
        url = re.fullmatch(words, process.stdout.readline())[1]
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 5  # this program, two makes, two servers
        try:
            yield url
        finally:
            signal_group(process, signal.SIGINT)
            process.wait(10)
        assert not psutil.wait_procs(children, timeout=5)[1]


def frame(window, half, tab):
    return window.frame_locator(f"[title='{half}, tab {tab}']")


def counting(window, half):
    """The titles of the frames that count; those with no page yet cannot be asked."""
    frames = window.locator(f"#{half} .loaded iframe").all()
    counts = [frame.content_frame.locator(".counting").count() for frame in frames]
    return [f.get_attribute("title") for f, n in zip(frames, counts, strict=True) if n]


@pytest.mark.slow
def test_one_wsgi_tab_counts_at_a_time_and_every_asgi_tab(window):
    with make_tabs("GUNICORN_CMD_ARGS=--timeout 15") as url:
        window.goto(url)
        heading = "WSGI gunicorn --workers 1 --timeout 15"
        expect(window.locator("#WSGI h2")).to_have_text(heading)
        waiting = window.locator("#WSGI li").nth(2).locator("time")
        expect(waiting).to_have_text(re.compile("^[3-9] s$"))
        assert counting(window, "WSGI") == ["WSGI, tab 1"]
        assert len(counting(window, "ASGI")) == 3
        assert_frames_fit(window)
        cut = frame(window, "WSGI", 1).locator("#state")
        expect(cut).to_contain_text("cut at", timeout=40_000)
        deadline = time.monotonic() + 60
        while counting(window, "WSGI") not in (["WSGI, tab 2"], ["WSGI, tab 3"]):
            assert time.monotonic() < deadline
            window.wait_for_timeout(200)
        assert len(counting(window, "ASGI")) == 3
        assert_frames_fit(window)


def assert_frames_fit(window):
    """Nothing scrolls, and the number is big."""
    fits = "scrollHeight <= innerHeight && scrollWidth <= innerWidth"
    for page in window.frames[1:]:
        if page.url.startswith("http"):
            assert page.evaluate(f"with (document.documentElement) {fits}")
    number = frame(window, "ASGI", 1).locator("#count")
    assert number.bounding_box()["height"] > 720 / 6


def test_more_tabs_than_connections_to_one_host(window):
    with make_tabs("TABS=8") as url:
        window.goto(url)
        for tab in range(1, 9):
            state = frame(window, "ASGI", tab).locator("#state")
            expect(state).to_have_text(COUNTING)


@pytest.mark.slow
def test_old_window_leaves_the_worker_to_the_next(context):
    port = free_port()
    old, new = context.new_page(), context.new_page()
    with make_tabs(port=port) as url:
        old.goto(url)
        expect(frame(old, "WSGI", 1).locator("#state")).to_have_text(COUNTING)
    with make_tabs("TABS=1", port=port) as url:
        expect(old.get_by_role("alert")).to_contain_text("make tabs has ended")
        assert old.locator("iframe").count() == 0
        old.wait_for_timeout(4_000)  # Chromium reconnects after three
        new.goto(url)
        expect(frame(new, "WSGI", 1).locator("#state")).to_have_text(COUNTING)


def violations(tab):
    """What axe-core has to say against a page and all of its frames."""
    for frame in tab.frames:
        frame.evaluate(Axe().axe_script)
        frame.evaluate("axe.configure({allowedOrigins: ['<unsafe_all_origins>']})")
    # Each frame has a page with a <main>; the frames' titles tell them apart.
    found = tab.evaluate("axe.run({rules: {'landmark-unique': {enabled: false}}})")
    assert found["passes"]
    return [(rule["id"], rule["nodes"]) for rule in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(window, scheme):
    """Neither in the window, with all its frames, nor in a tab of its own."""
    with make_tabs("TABS=2", "GUNICORN_CMD_ARGS=--timeout 5") as url:
        window.emulate_media(color_scheme=scheme)
        window.goto(url)
        expect(frame(window, "WSGI", 2).locator("#state")).to_be_visible()
        assert violations(window) == []
        window.goto(window.frames[-1].url)
        expect(window.locator("#state")).to_have_text(COUNTING)
        assert violations(window) == []


@pytest.mark.parametrize(
    "asgi",
    ["uvicorn --workers 2", "gunicorn --workers 2 --threads 4 --worker-class asgi"],
)
def test_knobs_reach_both_servers_and_the_readers_browser_is_opened(tmp_path, asgi):
    port, opened, server = free_port(), tmp_path / "opened", asgi.split()[0]
    knobs = "COUNT=50", "WORKERS=2", "DEBUG=1", f"SERVER={server}"
    threads, browser = "GUNICORN_CMD_ARGS=--threads 4", f"sh -c 'echo %s >{opened}'"
    with make_tabs(*knobs, threads, port=port, browser=browser) as url:
        html = httpx.get(url, timeout=20).text
        assert '"gunicorn --workers 2 --threads 4"' in html
        assert f'"{asgi}"' in html
        for server in f"http://localhost:{port}", f"http://localhost:{port + 1}":
            with httpx.stream("GET", f"{server}/sse/", timeout=20) as response:
                assert '{"i": 50}' in next(response.iter_text())
            assert "DEBUG = True" in httpx.get(f"{server}/unknown/", timeout=20).text
        deadline = time.monotonic() + 20
        while not (opened.exists() and opened.read_text() == f"{url}\n"):
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize("number", [0, 13])
def test_wrong_number_of_tabs_is_an_error_of_one_line(number):
    _, _, (error,) = run_make("tabs", f"TABS={number}")
    assert f"TABS={number}: must be 1 to 12" in error


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_taken_port_is_an_error_of_one_line(offset):
    port = free_port()
    with socket.create_server(("127.0.0.1", port + offset)):
        _, _, errors = run_make("tabs", f"PORT={port}")
    assert errors == [f"port {port + offset} is taken: try make tabs PORT=8080"]
