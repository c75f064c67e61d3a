"""Start a real server by the Makefile's targets, as a reader would, and stop it."""

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

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
VENV = os.path.relpath(sys.prefix, ROOT)  # relative, since make splits at spaces
MAKEFILE = (ROOT / "Makefile").read_text()
KNOBS = set(re.findall(r"\b([A-Z_]+)=", MAKEFILE))  # every NAME= in it
# No proxies and no certificates: every server is on this machine.
HTTPX_OPTIONS = {"trust_env": False, "verify": False}


def free_port():
    """A free port, below those that clients get; nobody is given the next two."""
    while True:
        port = random.randrange(10_000, 30_000, 3)
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port


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


def wait_for_page(url, process, log=str, seconds=60):
    """Wait until a server sends its page: TimeoutError after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check(process, log)
        with suppress(httpx.TransportError):  # it does not listen yet, or has ended
            return httpx.get(url, timeout=20, **HTTPX_OPTIONS).raise_for_status()
        time.sleep(0.05)
    raise TimeoutError(f"{url} has not answered for {seconds} seconds")


def check(process, log):
    """Raise RuntimeError, with the end of its log, if a server has ended."""
    if process.poll() is not None:
        command = " ".join(process.args[:2])
        raise RuntimeError(f"{command} failed:\n{log()[-2000:]}")


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
        """Start the server and wait until it answers."""
        self.launch()
        try:
            wait_for_page(self.url, self.process, self.log)
        except BaseException:  # also at Ctrl-C, which does not reach the server
            self.kill()
            raise

    def launch(self):
        """Start the server, and do not wait for it."""
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        output = {"stdout": self._log, "stderr": subprocess.STDOUT}
        self.process = start(make(self.target, *variables), cwd=self.folder, **output)

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
