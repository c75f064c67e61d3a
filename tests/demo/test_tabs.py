"""`make tabs`: both halves in one window of a real Chromium."""

import json
import random
import re
import signal
import socket
import sys
import time
from contextlib import contextmanager

import httpx
import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.countdown_page import SECOND
from tests.support.server import free_port, run_make, signal_group, start_make

DIGITS = re.compile(r"^\d+$")
COUNTING = "counting from 100"
NO_BROWSER = {"BROWSER": "true"}  # the command, which opens nothing
NO_SCREEN = {"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}


@pytest.fixture
def window(context):
    """A page as large as a small projector's picture."""
    window = context.new_page()
    window.set_viewport_size({"width": 1280, "height": 720})
    return window


@contextmanager
def make_tabs(*arguments, environment=NO_BROWSER):
    """Run `make tabs`; yield what it has printed when it has opened the window.

    Afterwards, Ctrl-C ends it within three seconds, and no process is left.
    """
    arguments = ["tabs", f"PORT={free_port(3)}", *arguments]
    process = start_make(*arguments, environment=environment)
    try:
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
        yield "".join(lines)
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        begin = time.monotonic()
        signal_group(process, signal.SIGINT)
        process.communicate(timeout=20)
        seconds = time.monotonic() - begin
    assert len(children) >= 5  # this program, two makes, two servers
    _, left = psutil.wait_procs(children, timeout=0)
    left = [process for process in left if process.status() != "zombie"]
    for process in left:
        process.kill()
    assert left == []
    assert seconds < 4  # three, and room for a busy machine


def url(output):
    return re.search(r"http://localhost:\d+/", output)[0]


def setup(output):
    """What the window is told to show."""
    html = httpx.get(url(output), timeout=20).text
    return json.loads(re.search(r'{"tabs.*}', html)[0])


def frame(window, half, tab):
    return window.frame_locator(f"[title='{half}, tab {tab}']")


def filled(window, half):
    """The titles of the frames whose page is filled with its colour."""
    fill = "body => getComputedStyle(body).backgroundColor != 'rgba(0, 0, 0, 0)'"
    return [
        frame.get_attribute("title")
        for frame in window.locator(f"#{half} .loaded iframe").all()
        if frame.content_frame.locator("body").evaluate(fill)
    ]


@pytest.mark.slow
def test_who_counts_is_filled_at_every_moment(window):
    with make_tabs("GUNICORN_CMD_ARGS=--timeout 15") as output:
        window.goto(url(output))
        expect(window.locator("#WSGI h2")).to_have_text(
            "WSGI gunicorn --workers 1 --timeout 15"
        )
        expect(window.locator("#ASGI h2")).to_have_text("ASGI uvicorn --workers 1")
        waiting = window.locator("#WSGI li").nth(2).locator("time")
        expect(waiting).to_have_text(re.compile("^[3-9] s$"))
        assert filled(window, "WSGI") == ["WSGI, tab 1"]
        assert len(filled(window, "ASGI")) == 3
        assert_frames_fit(window)
        cut = frame(window, "WSGI", 1).locator("#state")
        expect(cut).to_contain_text("cut off at", timeout=40 * SECOND)
        deadline = time.monotonic() + 60
        while filled(window, "WSGI") not in (["WSGI, tab 2"], ["WSGI, tab 3"]):
            assert time.monotonic() < deadline
            window.wait_for_timeout(0.2 * SECOND)
        assert len(filled(window, "ASGI")) == 3
        assert_frames_fit(window)


def assert_frames_fit(window):
    """Nothing scrolls, and the number is big."""
    for page in window.frames[1:]:
        if page.url.startswith("http"):
            fits = "scrollHeight <= innerHeight && scrollWidth <= innerWidth"
            assert page.evaluate(f"with (document.documentElement) {fits}")
    font_size = "number => parseFloat(getComputedStyle(number).fontSize)"
    count = frame(window, "ASGI", 1).locator("#count")
    assert count.evaluate(font_size) > 720 / 6


def test_more_tabs_than_connections_to_one_host(window):
    window.clock.install()
    with make_tabs("TABS=8") as output:
        window.goto(url(output))
        window.clock.run_for(8 * SECOND)
        expect(window.locator("#ASGI .loaded")).to_have_count(8)
        hosts = window.locator("#ASGI iframe").evaluate_all(
            "frames => frames.map(({ src }) => new URL(src).hostname)"
        )
        for tab in range(1, 9):
            count = frame(window, "ASGI", tab).locator("#count")
            expect(count).to_have_text(DIGITS)
    assert hosts == ["localhost"] * 6 + ["tab7.localhost", "tab8.localhost"]


@pytest.mark.slow
def test_old_window_leaves_the_worker_to_the_next(context):
    port = f"PORT={free_port(3)}"
    old, new = context.new_page(), context.new_page()
    with make_tabs(port) as output:
        old.goto(url(output))
        expect(frame(old, "WSGI", 1).locator("#state")).to_have_text(COUNTING)
    with make_tabs(port, "TABS=1") as output:
        assert old.url == url(output)
        expect(old.get_by_role("alert")).to_contain_text("make tabs has ended")
        assert old.locator("iframe").count() == 0
        old.wait_for_timeout(4 * SECOND)  # Chromium reconnects after three
        new.goto(url(output))
        expect(frame(new, "WSGI", 1).locator("#state")).to_have_text(COUNTING)


def violations(tab):
    """What axe-core has to say against a page and all of its frames."""
    for frame in tab.frames:
        frame.evaluate(Axe().axe_script)
        frame.evaluate("axe.configure({allowedOrigins: ['<unsafe_all_origins>']})")
    found = tab.evaluate("axe.run()")
    assert found["passes"]
    return [(rule["id"], rule["nodes"]) for rule in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(window, scheme):
    """Neither in the window, with all its frames, nor in a tab of its own."""
    with make_tabs("TABS=2", "GUNICORN_CMD_ARGS=--timeout 5") as output:
        window.emulate_media(color_scheme=scheme)
        window.goto(url(output))
        expect(frame(window, "WSGI", 2).locator("#state")).to_be_visible()
        assert violations(window) == []
        window.goto(f"http://localhost:{setup(output)['halves'][1]['port']}/")
        expect(window.locator("#state")).to_have_text(COUNTING)
        assert violations(window) == []


def test_knobs_reach_both_servers():
    knobs = ["COUNT=50", "TICK=0.5", "WORKERS=2", "GUNICORN=--threads 4", "DEBUG=1"]
    with make_tabs(*knobs) as output:
        wsgi, asgi = setup(output)["halves"]
        for half in wsgi, asgi:
            address = f"http://localhost:{half['port']}"
            with httpx.stream("GET", f"{address}/sse/", timeout=20) as response:
                assert '{"i": 50}' in next(response.iter_text())
            assert "DEBUG = True" in httpx.get(f"{address}/unknown/", timeout=20).text
    assert re.fullmatch("gunicorn --workers 2 +--threads 4", wsgi["command"])
    assert asgi["command"] == "uvicorn --workers 2"
    assert "\nWatch WSGI: up to 8 tabs count, the others stay blank; " in output
    assert "\nWatch ASGI: all of them count at once" in output


def test_picture(browser, tmp_path):
    picture = tmp_path / "tabs.png"
    status, _, errors = run_make("tabs", f"PORT={free_port(3)}", f"PNG={picture}")
    assert status == 0, errors
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 150_000


def test_readers_browser_is_opened(tmp_path):
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$@" >{opened}\n')
    browser.chmod(0o755)
    with make_tabs(environment={"BROWSER": str(browser)}) as output:
        deadline = time.monotonic() + 20
        while not (opened.exists() and opened.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert opened.read_text() == f"{url(output)}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="there is always a browser")
def test_without_a_browser_one_line_says_what_to_open():
    with make_tabs(environment=NO_SCREEN) as output:
        assert "The same countdown" in httpx.get(url(output), timeout=20).text
    *_, last = output.splitlines()
    assert last.startswith(f"No browser here: open {url(output)} ")


def test_ports_in_use():
    """Whatever it is that listens there, all three have ports of their own."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with make_tabs(f"PORT={port}") as output:
            wsgi, asgi = (half["port"] for half in setup(output)["halves"])
            for name, server in ("WSGI", wsgi), ("ASGI", asgi):
                page = httpx.get(f"http://localhost:{server}/", timeout=20)
                assert f"<h1>{name}</h1>" in page.text
    assert f"Port {port} is not available: WSGI has port {wsgi} instead.\n" in output


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.1 is the only address")
def test_both_servers_by_one_make():
    """On an address of their own, since the ports are everybody's."""
    host = f"127.0.0.{random.randrange(2, 255)}"
    process = start_make("-j2", "run-wsgi", "run-asgi", f"HOST={host}")
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=6)) as client:
            for port, name in (8000, "WSGI"), (8001, "ASGI"):
                page = client.get(f"http://{host}:{port}/", timeout=20)
                assert f"<h1>{name}</h1>" in page.text
    finally:
        signal_group(process, signal.SIGINT)
        process.communicate(timeout=20)


def test_server_that_does_not_start():
    status, _, errors = run_make(
        "tabs", f"PORT={free_port(3)}", "GUNICORN_CMD_ARGS=--bogus"
    )
    assert status != 0
    assert "gunicorn: unrecognized arguments: --bogus" in errors
