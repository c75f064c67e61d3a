"""README.md's commands one by one, each in a fresh clone, as an ordinary user.

The tests run in one .venv that has everything, as whoever calls them. Here each command
must install what it needs. Called by root, it makes a user for this.
"""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
USER = "wsgi-asgi-reader"
EVENT = b"event:i\n"
BROWSERS = "google-chrome", "google-chrome-stable", "chromium", "chromium-browser"
# What makes a command short, by its beginning.
SHORT = {
    "make compare": "FAST=1 SECONDS=6",
    "make bench": "STREAMS=10 TICK=0.1",
}
# What the output of a command that ends has to contain.
SAYS = {
    "make compare": "Counting together: 1 of 3 tabs over WSGI, ",
    "make bench": "gunicorn gevent",
    "make test": "left out: ",
    "make help": "make run-wsgi",
    "make clean": "rm -rf",
    "git checkout": "",
}


def commands():
    """README.md's commands, those in its text as well as those in its blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`((?:[A-Z_]+=\S+ )*make [a-z][^`]*)`", README)
    found = [re.sub(r"\s+#.*", "", line) for line in lines] + inline
    return list(dict.fromkeys(found))


def beginning(command, table):
    """The longest entry of the table that the command begins with."""
    return max(
        (name for name in table if command.startswith(name)), key=len, default=""
    )


def reader():
    """The ordinary user: whoever calls this, but for root one that is made."""
    if os.geteuid():
        return pwd.getpwuid(os.geteuid())
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(USER)
    subprocess.run(["useradd", "--create-home", USER], check=True)
    return pwd.getpwnam(USER)


class Clone:
    """A fresh clone of the project, which the reader owns."""

    def __init__(self, user, folder):
        self.user, self.folder = user, Path(folder, "a clone")
        clone = ["git", "clone", "--quiet", ROOT, self.folder]
        subprocess.run(clone, check=True)
        subprocess.run(["chown", "--recursive", str(user.pw_uid), folder], check=True)

    def start(self, command, **environment):
        """Start a command as the reader; what it prints goes into the file `log`."""
        own = {"HOME": self.user.pw_dir, "USER": self.user.pw_name} | environment
        kept = {name: v for name, v in os.environ.items() if name not in ("CI", "VENV")}
        root = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": ()}
        self.log = Path(self.folder.parent, "log")
        return subprocess.Popen(
            ["sh", "-c", command],
            cwd=self.folder,
            env=kept | own,
            stdin=subprocess.DEVNULL,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **root if os.geteuid() == 0 else {},
        )

    def run(self, command, says, **environment):
        """Run a command to its end; what is wrong with it, or nothing."""
        status = self.start(command, **environment).wait(900)
        if status or says not in self.log.read_text():
            return f"ended with {status}, and should have said {says!r}"

    def serve(self, command, port):
        """Run a command that ends at Ctrl-C; what is wrong with it, or nothing."""
        process = self.start(command)
        try:
            for _ in range(1800):
                if process.poll() is not None:
                    return f"ended with {process.returncode}"
                with contextlib.suppress(OSError):
                    return self.look(port)
                time.sleep(0.1)
            return "nothing to see after three minutes"
        finally:
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def look(self, port):
        """See the first events of the server; OSError as long as it does not listen."""
        url = f"http://127.0.0.1:{port}/sse/"
        with urllib.request.urlopen(url, timeout=20) as stream:
            if stream.readline() != EVENT:
                return "sent no event"


def without_browser(folder):
    """An environment in which no Chromium works, and none can be downloaded."""
    Path(folder).mkdir()
    for name in BROWSERS:
        Path(folder, name).symlink_to("/bin/false")
    nowhere = {"PLAYWRIGHT_BROWSERS_PATH": f"{folder}/none"}
    nowhere["PLAYWRIGHT_DOWNLOAD_HOST"] = "http://127.0.0.1:9"
    return nowhere | {"PATH": f"{folder}:{os.environ['PATH']}"}


def free_port():
    """The first of three ports in a row that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def check(command, user):
    """Try a command in a clone of its own; what is wrong with it, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        clone = Clone(user, folder)
        short = f"{command} {SHORT.get(beginning(command, SHORT), '')}"
        if says := SAYS.get(beginning(command, SAYS)):
            environment = without_browser(f"{folder}/bin") if "test" in command else {}
            wrong = clone.run(short, says, **environment)
        elif "runserver" in command:
            port = free_port()
            clone.run("make .venv/.demo", "Installing")
            wrong = clone.serve(re.sub(r"\d{4}$", str(port), short), port)
        else:
            port = free_port()
            wrong = clone.serve(f"{short} PORT={port}", port)
        wrong = wrong or clone.run("git diff --exit-code", "")
        if wrong:
            print(*clone.log.read_text().splitlines()[-30:], sep="\n")
        return wrong


def main():
    user = reader()
    print(f"As {user.pw_name}, with {shutil.which('python3')}:")
    wrong = {}
    for command in sys.argv[1:] or commands():
        begin = time.monotonic()
        wrong[command] = check(command, user)
        took = f"{time.monotonic() - begin:.0f} s"
        print(f"{wrong[command] or 'as it should be'}, {took}: {command}", flush=True)
    sys.exit(any(wrong.values()))


if __name__ == "__main__":
    main()
