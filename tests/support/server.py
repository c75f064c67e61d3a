"""Start a real server by the Makefile's own targets, as a reader would, and stop it."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE

import psutil

ROOT = Path(__file__).resolve().parents[2]
VENV = os.path.relpath(sys.prefix, ROOT)  # make takes no path with a space in it


def free_port():
    """A free port below those that clients are given; the next two are nobody's."""
    while True:
        port = random.randrange(10_000, 30_000, 3)
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port


def wait_for_port(port):
    """Wait until something listens on a TCP port, 30 seconds at most."""
    for _ in range(600):
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port)).close()
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def start(command, environment=None, **options):
    """Start a command in a process group of its own, as a shell would; its Popen."""
    environment = os.environ | (environment or {})
    options = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "text": True} | options
    return subprocess.Popen(command, env=environment, start_new_session=True, **options)


@contextmanager
def running(command, environment=None, **options):
    """Run a command for the length of a with block."""
    process = start(command, environment, **options)
    try:
        yield process
    finally:
        signal_group(process, signal.SIGKILL)
        process.wait()


def signal_group(process, number):
    """Send a signal to the process and to all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def run(command, environment=None, timeout=60):
    """Run a command to its end; return its exit status, its output and its errors."""
    with running(command, environment, stdout=PIPE, stderr=PIPE) as process:
        output, errors = process.communicate(timeout=timeout)
    return process.returncode, output, errors


def make(*arguments):
    """The command that runs make."""
    return ["make", *arguments, f"VENV={VENV}"]


def run_make(*arguments, environment=None):
    """Run make as run() does; the errors are lines, without those that make adds."""
    status, output, errors = run(make(*arguments), environment)
    lines = [x for x in errors.splitlines() if not re.match(r"make(\[\d+\])?:", x)]
    return status, output, lines


class Server:
    """A server started by `make TARGET`, for the length of a with block.

    folder: the project or a copy of it; variables: make's, and so the environment's.
    """

    def __init__(self, target, folder=ROOT, **variables):
        self.target, self.folder, self.variables = target, folder, variables
        self.port = variables.setdefault("PORT", free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = tempfile.NamedTemporaryFile()  # noqa: SIM115, ends with the object

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self.stop()

    def start(self):
        """Start the server and wait until it listens."""
        self.launch()
        try:
            while not re.search("Booting worker|Uvicorn running on", self.log()):
                self.check()
                time.sleep(0.05)
        except KeyboardInterrupt:  # the server has a session of its own
            self.kill()
            raise

    def launch(self):
        """Start the server, and do not wait for it."""
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        output = {"stdout": self._log, "stderr": subprocess.STDOUT}
        self.process = start(make(self.target, *variables), cwd=self.folder, **output)

    def check(self):
        """Raise RuntimeError, with the end of its log, if the server has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"make {self.target} failed:\n{self.log()[-2000:]}")

    def stop(self):
        """Press Ctrl-C; TimeoutExpired if the server takes ten seconds to end."""
        signal_group(self.process, signal.SIGINT)
        try:
            self.process.wait(timeout=10)
        finally:
            self.kill()

    def kill(self):
        """End whatever is left of the server at once."""
        signal_group(self.process, signal.SIGKILL)
        self.process.wait()

    def log(self):
        """What make and the server have printed so far."""
        return Path(self._log.name).read_text(errors="replace")

    def worker(self):
        """The process that serves: the last of make, shell, arbiter, worker."""
        processes = psutil.Process(self.process.pid).children(recursive=True)
        return next(p for p in reversed(processes) if not p.children())
