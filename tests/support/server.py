"""Start a real server by the Makefile's own targets, as a reader would, and stop it."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE

import psutil

from tests.support.knobs import KNOBS

ROOT = Path(__file__).resolve().parents[2]
VENV = os.path.relpath(sys.prefix, ROOT)  # make takes no path with a space in it


def free_port(number=1):
    """The first of so many TCP ports in a row that nothing uses now.

    They are below those that the system gives to clients, which a test may have open.
    """
    while True:
        port = random.randrange(10_000, 30_000)
        with suppress(OSError):
            for offset in range(number):
                socket.create_server(("127.0.0.1", port + offset)).close()
            return port


def wait_for_port(port, seconds=30):
    """Wait until something listens on a TCP port; TimeoutError if nothing does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port)).close()
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def start(command, environment=None, **options):
    """Start a command in a process group of its own, as a shell would; its Popen.

    environment: variables besides the usual ones.
    """
    return subprocess.Popen(
        command,
        env=clean_environment() | (environment or {}),
        start_new_session=True,
        text=True,
        **{"cwd": ROOT, "stdin": subprocess.DEVNULL} | options,
    )


@contextmanager
def uninterrupted():
    """Put Ctrl-C off: an interrupted start would leave a process that nobody knows."""
    if threading.current_thread() is not threading.main_thread():
        yield  # the main thread alone is interrupted
        return
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *arguments: pressed.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed and callable(before):
        before(*pressed[0])


@contextmanager
def running(command, environment=None, **options):
    """Run a command for the length of a with block."""
    process = start(command, environment, **options)
    try:
        yield process
    finally:
        signal_group(process, signal.SIGKILL)
        process.wait()


def run(command, environment=None, timeout=60):
    """Run a command to its end; return its exit status, its output and its errors."""
    with running(command, environment, stdout=PIPE, stderr=PIPE) as process:
        output, errors = process.communicate(timeout=timeout)
    return process.returncode, output, errors


def make(*arguments, venv=VENV):
    """The command that runs make."""
    return ["make", *arguments, f"VENV={venv}"]


def start_make(*arguments, environment=None):
    """Start make with pipes; return its Popen."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), PIPE)
    return start(make(*arguments), environment, **pipes)


def run_make(*arguments, environment=None, venv=VENV):
    """Run make as run() does; the errors are lines, without those that make adds."""
    status, output, errors = run(make(*arguments, venv=venv), environment)
    own = [line for line in errors.splitlines() if not line.startswith("make")]
    return status, output, own


class Server:
    """A server started by `make TARGET`, for the length of a with block.

    folder: of a copy with a .venv; variables: make's, and so the environment's. Raises
    RuntimeError with the end of the log if the server does not start.
    """

    READY = re.compile(r"Booting worker with pid|Uvicorn running on")

    def __init__(self, target, folder=ROOT, **variables):
        self.target, self.folder, self.variables = target, folder, variables
        self.port = variables.setdefault("PORT", free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115, closed in __exit__

    def __enter__(self):
        try:
            self.start()
        except KeyboardInterrupt:  # the server has a session of its own
            self.kill()
            raise
        return self

    def __exit__(self, *exc_info):
        self.stop()
        self._log.close()

    def start(self):
        """Start the server and wait until it listens."""
        self.launch()
        while not self.ready():
            time.sleep(0.05)

    def launch(self):
        """Start the server; ready() tells when it listens."""
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        venv = VENV if self.folder == ROOT else ".venv"
        command = make(self.target, *variables, venv=venv)
        output = {"stdout": self._log, "stderr": subprocess.STDOUT}
        with uninterrupted():
            self.process = start(command, cwd=self.folder, **output)
        self._deadline = time.monotonic() + 30

    def ready(self):
        """Whether the server listens; RuntimeError if it ended or took 30 seconds."""
        if self.READY.search(self.log()) and self.process.poll() is None:
            return True
        if self.process.poll() is not None or time.monotonic() > self._deadline:
            self.kill()
            raise RuntimeError(f"make {self.target} failed:\n{self.log()[-2000:]}")
        return False

    def stop(self, timeout=10):
        """Press Ctrl-C; return the seconds that the server took to end."""
        begin = time.monotonic()
        signal_group(self.process, signal.SIGINT)
        try:
            self.process.wait(timeout)
        finally:
            self.kill()
        return time.monotonic() - begin

    def kill(self):
        """End whatever is left of the server at once."""
        signal_group(self.process, signal.SIGKILL)
        self.process.wait()

    def log(self):
        """What make and the server have printed so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def requests(self):
        """The requests and the worker timeouts in the log, in their order.

        gunicorn logs requests with `--log-level debug` alone.
        """
        return re.findall(r"GET /\S*|WORKER TIMEOUT", self.log())

    def worker(self):
        """The process that serves: the last of make, shell, arbiter, worker."""
        processes = psutil.Process(self.process.pid).children(recursive=True)
        return next(p for p in reversed(processes) if not p.children())

    def workers(self):
        """All processes that serve, side by side."""
        return self.worker().parent().children()


def signal_group(process, number):
    """Send a signal to the process and to all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def clean_environment():
    """This process's environment without what would reach into the server."""
    outer = {*KNOBS, "WEB_CONCURRENCY", "PYTHONPATH"}
    outer |= {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}
    return {name: value for name, value in os.environ.items() if name not in outer}
