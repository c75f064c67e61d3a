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
from browser import launch
from harness import run_make, signal_group, start_make
from playwright.sync_api import expect, sync_playwright

SECOND = 1000  # Playwright counts in milliseconds
DIGITS = re.compile(r"^\d+$")
NO_BROWSER = {"BROWSER": "true"}  # the command, which opens nothing
NO_SCREEN = {"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}


@pytest.fixture
def page():
    expect.set_options(timeout=20 * SECOND)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser.new_page(viewport={"width": 1280, "height": 720})
        browser.close()


@contextmanager
def make_tabs(*arguments, environment=NO_BROWSER):
    """Run `make tabs`; yield what it has printed when it has opened the window.

    Afterwards, Ctrl-C ends it within three seconds, and no process is left.
    """
    arguments = ["tabs", f"PORT={three_ports()}", *arguments]
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
    assert seconds < 3


def three_ports():
    """The first of three ports that no other test asks for."""
    return random.randrange(10_000, 30_000)  # below those that the system gives away


def url(output):
    return re.search(r"http://localhost:\d+/", output)[0]


def setup(output):
    """What the window is told to show."""
    html = httpx.get(url(output), timeout=20).text
    return json.loads(re.search(r'{"tabs.*}', html)[0])


def frame(page, half, tab):
    return page.frame_locator(f"[title='{half}, tab {tab}']")


def number(page, half, tab):
    return frame(page, half, tab).get_by_role("timer")


def counting(page, half):
    """Which of three tabs show a number, once all of them have their page."""
    expect(page.locator(f"#{half} .loaded")).to_have_count(3)
    texts = [number(page, half, tab).inner_text() for tab in (1, 2, 3)]
    return [tab for tab, text in enumerate(texts, 1) if DIGITS.match(text)]


def seconds_waited(page, tab):
    return page.locator("#WSGI li").nth(tab - 1).locator("time")


def assert_frames_fit(page):
    """Nothing scrolls, and the number is big."""
    frames = [frame for frame in page.frames if frame.url.startswith("http")]
    for frame in frames:
        page_height, height, page_width, width = frame.evaluate(
            "({scrollHeight, scrollWidth} = document.documentElement,"
            "[scrollHeight, innerHeight, scrollWidth, innerWidth])"
        )
        assert page_height <= height
        assert page_width <= width
    big = number(page, "ASGI", 1).bounding_box()["height"]
    assert big > 720 / 5


def test_window_shows_who_counts_and_who_waits(page):
    with make_tabs("GUNICORN_CMD_ARGS=--timeout 15") as output:
        page.goto(url(output))
        expect(page.locator("#WSGI h2")).to_have_text(
            "WSGI gunicorn --workers 1 --timeout 15"
        )
        expect(page.locator("#ASGI h2")).to_have_text("ASGI uvicorn --workers 1")
        # Eight seconds after it has opened the first tab.
        expect(seconds_waited(page, 2)).to_have_text("5 s")
        expect(seconds_waited(page, 2)).to_have_text("7 s")
        assert page.locator("#WSGI .loaded").count() == 1
        assert DIGITS.match(number(page, "WSGI", 1).inner_text())
        assert counting(page, "ASGI") == [1, 2, 3]
        assert_frames_fit(page)
        # After the cut.
        status = frame(page, "WSGI", 1).get_by_role("status")
        expect(status).to_contain_text("cut off at", timeout=40 * SECOND)
        while not (turn := counting(page, "WSGI")):
            page.wait_for_timeout(0.2 * SECOND)
        assert turn in ([2], [3])
        assert counting(page, "ASGI") == [1, 2, 3]
        assert_frames_fit(page)


def test_more_tabs_than_connections_to_one_host(page):
    page.clock.install()
    with make_tabs("TABS=8") as output:
        page.goto(url(output))
        page.clock.run_for(8 * SECOND)
        expect(page.locator("#ASGI .loaded")).to_have_count(8)
        hosts = page.locator("#ASGI iframe").evaluate_all(
            "frames => frames.map(({ src }) => new URL(src).hostname)"
        )
        for tab in range(1, 9):
            expect(number(page, "ASGI", tab)).to_have_text(DIGITS)
    assert hosts == ["localhost"] * 6 + ["tab7.localhost", "tab8.localhost"]


def test_picture(tmp_path):
    picture = tmp_path / "tabs.png"
    status, _, errors = run_make("tabs", f"PORT={three_ports()}", f"PNG={picture}")
    assert (status, errors) == (0, [])
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
                local = {"Host": "localhost"}
                page = client.get(f"http://{host}:{port}/", headers=local, timeout=20)
                assert f"<h1>{name}</h1>" in page.text
    finally:
        signal_group(process, signal.SIGINT)
        process.communicate(timeout=20)


def test_server_that_does_not_start():
    status, _, errors = run_make(
        "tabs", f"PORT={three_ports()}", "GUNICORN_CMD_ARGS=--bogus"
    )
    assert status != 0
    assert "gunicorn: error: unrecognized arguments: --bogus" in errors


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("TABS=0", "TABS=0: must be a whole number from 1 to 12"),
        ("TABS=all", "TABS=all: must be a whole number from 1 to 12"),
        ("PORT=x", "PORT=x: must be a whole number from 1 to 65533"),
        ("PNG=/", "PNG=/: must be a file in a folder that can be written"),
    ],
)
def test_bad_input(variable, message):
    status, output, errors = run_make("tabs", variable)
    assert status != 0
    assert (output, errors) == ("", [message])
