"""`make tabs`: a row of WSGI tabs above a row of ASGI tabs, in one browser window.

`python -m tests.programs.tabs --gif FILE` makes a moving picture of it instead.
"""

import argparse
import asyncio
import io
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from tests.programs.common import SERVER_KNOBS, add_knobs, run_program, serving
from tests.support.server import Server, check

HTML = Path(__file__).with_suffix(".html")
LOOK = {"viewport": {"width": 960, "height": 540}, "color_scheme": "dark"}
FRAMES = 36  # one a second, until another tab counts
SHOWN = [330] * (FRAMES - 1) + [3000]  # milliseconds; the last one is to be read
TITLE = "text => document.querySelector('h1').textContent = text"


class Window(asyncio.Protocol):
    """The page with the tabs, and /open, a response as long as this program runs."""

    def __init__(self, setup):
        self.html = HTML.read_text().replace("{{ setup }}", json.dumps(setup))

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, request):
        stays_open = request.startswith(b"GET /open ")
        kind = b"event-stream" if stays_open else b"html; charset=utf-8"
        self.transport.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/%s\r\n\r\n" % kind)
        if not stays_open:
            self.transport.write(self.html.encode())
            self.transport.close()


def open_window(url):
    """Open the reader's browser, and say where to look if there is none."""
    print(f"Opening {url} in your browser. Ctrl-C ends both servers.", flush=True)
    # Not in this process: some browsers block, others write to the terminal.
    silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    command = [sys.executable, "-m", "webbrowser", "-n", url]
    subprocess.Popen(command, start_new_session=True, **silent)


def film(url, path):
    """Save a moving picture of the window, three times as fast as what it shows."""
    from PIL import Image  # not installed for those who only look at the tabs

    from tests.support.browser import launch

    with ExitStack() as stack:
        page = launch(stack).new_page(**LOOK)
        page.goto(url)
        begin, pictures = time.monotonic(), []
        for second in range(FRAMES):
            page.wait_for_timeout(max(0, 1000 * (begin + second - time.monotonic())))
            page.evaluate(TITLE, f"second {second}")
            pictures.append(Image.open(io.BytesIO(page.screenshot())))
    flat = {"palette": pictures[-1].quantize(64), "dither": Image.Dither.NONE}
    first, *others = (picture.quantize(**flat) for picture in pictures)
    first.save(path, save_all=True, append_images=others, duration=SHOWN, loop=0)


def check_free(port):
    """Refuse a port on which something answers, be it on ::1, which browsers prefer."""
    with suppress(OSError):
        socket.create_connection(("localhost", port), timeout=2).close()
        raise RuntimeError(f"port {port} is taken: try make tabs PORT=8080")


def halves(knobs):
    """What the window is told of each server, and the servers, not started."""
    both = {name: getattr(knobs, name.lower()) for name in SERVER_KNOBS}
    options, workers = knobs.gunicorn_cmd_args, f"--workers {knobs.workers}"
    both["GUNICORN_CMD_ARGS"] = options
    gunicorn, asgi = f"gunicorn {workers} {options}".strip(), f"uvicorn {workers}"
    if knobs.server == "gunicorn":
        asgi = f"{gunicorn} --worker-class asgi"
    port = knobs.port
    yield ("WSGI", port, gunicorn), Server("run-wsgi", PORT=port, **both)
    yield ("ASGI", port + 1, asgi), Server("run-asgi", PORT=port + 1, **both)


async def tabs(knobs):
    """Show both servers until the moving picture is made, or until Ctrl-C."""
    for port in range(knobs.port, knobs.port + 3):
        check_free(port)
    rows, servers = zip(*halves(knobs), strict=True)
    print("Starting both servers ...", flush=True)
    async with serving(*servers):
        window = partial(Window, {"tabs": knobs.tabs, "halves": rows})
        loop = asyncio.get_running_loop()
        await loop.create_server(window, "127.0.0.1", knobs.port + 2)
        url = f"http://localhost:{knobs.port + 2}/"
        if knobs.gif:
            return await asyncio.to_thread(film, url, knobs.gif)
        open_window(url)
        while True:
            for server in servers:
                check(server.process, server.log)
            await asyncio.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(prog="make tabs", usage=argparse.SUPPRESS)
    add_knobs(parser, TABS=int, GUNICORN_CMD_ARGS=str, **SERVER_KNOBS)
    parser.add_argument("--port", type=int, default=os.environ.get("PORT", 8000))
    parser.add_argument("--gif", help="save a moving picture in this file")
    knobs = parser.parse_args()
    if not 1 <= knobs.tabs <= 12:
        parser.error(f"TABS={knobs.tabs}: must be 1 to 12; make compare takes more")
    run_program(tabs(knobs))  # Ctrl-C is its usual end, and no error


if __name__ == "__main__":
    main()
