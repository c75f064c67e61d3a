"""Before a command runs: stop at a knob that cannot work; say what a server shows.

The servers themselves would say what is wrong in many lines, gunicorn after five
seconds. COUNT and TICK are the ones that app.py reads from the environment.
"""

import math
import shlex
import socket
import sys
from contextlib import suppress

from gunicorn.config import Config

from tests.support.knobs import Knobs, number, switch, whole

MOST_PLAIN_TABS = 6  # a browser opens no more connections to one host
EVERYBODY = ("0.0.0.0", "::")
MANY = 40  # streams, more than anybody opens tabs
AT_ONCE = {  # the streams that a worker of gunicorn's serves, by its class
    "sync": lambda config: 1,
    "gthread": lambda config: config.threads,
    "gevent": lambda config: config.worker_connections,
}


def read(target):
    """Return the knobs of a server."""
    knobs = Knobs(target)
    knobs.add("HOST")
    knobs.add("PORT", whole(0, 65535))
    knobs.add("WORKERS", whole(1))
    knobs.add("COUNT", whole(0))
    knobs.add("TICK", number(0))
    knobs.add("DEBUG", switch)
    if target == "run-wsgi":
        knobs.add("GUNICORN", shlex.split)
        knobs.add("GUNICORN_CMD_ARGS", shlex.split)
    return knobs.read()


def check_address(target, host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        advice = f"try make {target} PORT=8080, or another HOST"
        sys.exit(f"HOST={host} PORT={port}: {error}: {advice}")


def addresses(knobs):
    """Where to look: on this machine, and from others where that is possible."""
    if knobs.host in ("127.0.0.1", "::1"):
        return f"http://localhost:{knobs.port}/"
    if knobs.host not in EVERYBODY:
        return f"http://{bracketed(knobs.host)}:{knobs.port}/"
    here = f"http://localhost:{knobs.port}/"
    return f"{here} (on another device http://{own_address()}:{knobs.port}/)"


def bracketed(host):
    return f"[{host}]" if ":" in host else host


def own_address():
    """This machine's address in its network; nothing is sent to find it out."""
    with suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # an address that nobody has (RFC 5737)
        return probe.getsockname()[0]
    return socket.gethostname()


def gunicorn_config(knobs):
    """What gunicorn itself makes of its options; the last one of a kind wins."""
    config = Config()
    parser = config.parser()
    parser.error = lambda message: sys.exit(f"gunicorn: {message}")
    workers = ["--workers", str(knobs.workers)]
    options = [*knobs.gunicorn_cmd_args, *workers, *knobs.gunicorn]
    for name, value in vars(parser.parse_args(options)).items():
        if value is not None and name in config.settings:
            config.set(name, value)
    return config


def watch_wsgi(knobs):
    """Return how many tabs to open, and what will happen in them."""
    config = gunicorn_config(knobs)
    kind = config.worker_class_str
    if kind not in AT_ONCE:
        return 3, f"what a worker of the class {kind} makes of them"
    streams = config.workers * AT_ONCE[kind](config)
    if streams >= MANY:
        return 3, "all of them count at once, and none is cut"
    counting = "one tab counts" if streams == 1 else f"up to {streams} tabs count"
    left = knobs.count - config.timeout / knobs.tick if knobs.tick else -math.inf
    if kind == "sync" and config.timeout and left > 0:
        then = f"at about {left:.0f} a stream is cut, and another tab has its turn"
    else:
        then = "they have their turn when a countdown has ended"
    return max(3, streams + 1), f"{counting}, the others stay blank; {then}"


def watch_asgi(knobs):
    workers = "one worker" if knobs.workers == 1 else f"{knobs.workers} workers"
    return 3, f"all of them count at once, down to Blastoff, on {workers}"


def main(target):
    """Check the knobs of a server, and say what to watch."""
    knobs = read(target)
    check_address(target, knobs.host, knobs.port)
    name = target.removeprefix("run-").upper()
    tabs, what = {"WSGI": watch_wsgi, "ASGI": watch_asgi}[name](knobs)
    more = ", more by the link on the page" * (name == "ASGI")
    more = more or ", by the link on the page" * (tabs > MOST_PLAIN_TABS)
    print(f"{name}: open {addresses(knobs)} in {tabs} tabs{more}.")
    print(f"Watch: {what}.", flush=True)


if __name__ == "__main__":
    target = sys.argv.pop(1)
    main(target) if target.startswith("run-") else Knobs(target).read()
