"""`make tabs`: a row of WSGI tabs above a row of ASGI tabs, in one browser window."""

import signal

if __name__ == "__main__":  # Ctrl-C during the imports: nothing to stop, nothing to say
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import json
import os
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.support.knobs import Knobs, file, number, switch, whole
from tests.support.server import Server, free_port, wait_for_port

HTML = Path(__file__).with_suffix(".html")
MOST_TABS = 12
LAST_PORT = 65_533  # ASGI has the next one, the window the one after that
SCREEN = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")  # unset where no browser can open
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PICTURE_AFTER = 8  # seconds
PICTURE = {"device_scale_factor": 1.5, "color_scheme": "dark"}  # of 1280 x 720 points


def read_knobs():
    """Return what make's variables ask for."""
    knobs = Knobs("tabs")
    knobs.add("TABS", whole(1, MOST_TABS))
    knobs.add("PORT", whole(1, LAST_PORT), "8000")
    knobs.add("WORKERS", whole(1))
    knobs.add("GUNICORN")
    knobs.add("GUNICORN_CMD_ARGS")
    knobs.add("COUNT", whole(0))
    knobs.add("TICK", number(0))
    knobs.add("DEBUG", switch)
    knobs.add("PNG", file)
    return knobs.read()


class Half:
    """One of the two servers; command: what its row of tabs says above it."""

    def __init__(self, name, port, command, variables):
        self.name, self.command, self.port = name, command, usable(port, name)
        self.server = Server(f"run-{name.lower()}", PORT=self.port, **variables)

    def story(self):
        """Return what will happen in the tabs, as the server's log announces it."""
        return re.search("^Watch: (.*)", self.server.log(), re.MULTILINE)[1]


def make_halves(knobs):
    """Return both halves, not yet started."""
    both = {name: vars(knobs)[name.lower()] for name in ("WORKERS", "COUNT", "TICK")}
    both["DEBUG"] = int(knobs.debug)
    options = {"GUNICORN_CMD_ARGS": knobs.gunicorn_cmd_args}
    options["GUNICORN"] = knobs.gunicorn
    workers = f"--workers {knobs.workers}"
    gunicorn = " ".join(["gunicorn", workers, *options.values()])
    return [
        Half("WSGI", knobs.port, gunicorn, both | options),
        Half("ASGI", knobs.port + 1, f"uvicorn {workers}", both),
    ]


def usable(port, name):
    """Return the port, or a free one if it is taken, be it by this very demo."""
    if not taken(port):
        return port
    other = free_port()
    print(f"Port {port} is not available: {name} has port {other} instead.")
    return other


def taken(port):
    """Whether a server can't listen on the port, or another answers there."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
        # A browser tries localhost's ::1 first, where another server may listen.
        socket.create_connection(("localhost", port), timeout=2).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True


class Window(BaseHTTPRequestHandler):
    """The page with the tabs, and /open, a response as long as this program runs."""

    def do_GET(self):
        stays_open = self.path == "/open"
        kind = "text/event-stream" if stays_open else "text/html; charset=utf-8"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        if stays_open:
            with suppress(ConnectionError):
                self.rfile.read(1)  # nothing comes: wait until the browser leaves
        else:
            self.wfile.write(self.server.html.encode())

    def log_message(self, *arguments):
        """Keep the terminal free of requests."""


def serve(knobs, halves):
    """Serve the window in a thread; return its URL."""
    rows = [{"name": h.name, "port": h.port, "command": h.command} for h in halves]
    setup = json.dumps({"tabs": knobs.tabs, "halves": rows})
    port = usable(knobs.port + 2, "the window")
    server = ThreadingHTTPServer(("127.0.0.1", port), Window)
    server.html = HTML.read_text().replace("{{ setup }}", setup)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://localhost:{port}/"


def open_window(url):
    """Open the reader's browser, if there is one, and say where to look."""
    stop = "Ctrl-C ends both servers."
    if sys.platform == "linux" and not any(map(os.environ.get, SCREEN)):
        print(f"No browser here: open {url} yourself. {stop}", flush=True)
        return
    print(f"Opening {url} in your browser. {stop}", flush=True)
    # Not in this process: some browsers block, others write to the terminal.
    silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    command = [sys.executable, "-m", "webbrowser", "-n", url]
    subprocess.Popen(command, start_new_session=True, **silent)


def take_picture(url, path):
    """Save a picture of the window."""
    from playwright.sync_api import sync_playwright

    from tests.support.browser import launch  # Playwright is installed for PNG= alone

    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(**PICTURE)
        page.goto(url)
        page.wait_for_timeout(PICTURE_AFTER * 1000)
        page.screenshot(path=path)
        browser.close()
    print(f"{path}: the window after {PICTURE_AFTER} seconds")


def run(knobs, signals):
    """Start both servers and show them; end them when a signal has come."""
    halves = make_halves(knobs)
    print("Starting gunicorn and uvicorn ...", flush=True)
    try:
        for half in halves:
            half.server.launch()
        while not signals and not listening(halves):
            time.sleep(0.05)
        if not signals:
            show(knobs, halves)
        while not signals and not knobs.png and listening(halves):
            time.sleep(0.1)
    finally:
        with ThreadPoolExecutor() as pool:  # Ctrl-C in both at the same time
            pool.map(lambda half: half.server.stop(timeout=1.5), halves)


def listening(halves):
    """Whether both servers listen; RuntimeError if one has ended."""
    return all(half.server.ready() for half in halves)


def show(knobs, halves):
    """Show the window, in the reader's browser or in a picture."""
    for half in halves:
        wait_for_port(half.port)  # several workers listen later than uvicorn says
    url = serve(knobs, halves)
    if knobs.png:
        return take_picture(url, knobs.png)
    for half in halves:
        print(f"Watch {half.name}: {half.story()}")
    open_window(url)


def main():
    signals = []  # an exception, instead, could leave a server that has just started
    for ending in SIGNALS:
        signal.signal(ending, lambda ending, _: signals.append(ending))
    try:
        run(read_knobs(), signals)
    except (ValueError, RuntimeError) as error:
        sys.exit(str(error))
    sys.exit(128 + signals[0] if signals else 0)


if __name__ == "__main__":
    main()
