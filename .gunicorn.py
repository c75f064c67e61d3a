"""What no command line option of gunicorn's can do: two hooks, and a patch for macOS.

Browsers open spare connections in advance. A sync worker that accepts one waits 30
seconds for a request and serves nobody, so silent connections must not reach it.
"""

import os
import socket
from select import select

from gunicorn.workers.sync import SyncWorker

SILENCE = 300  # seconds; browsers close a spare connection sooner

silent = {}  # the connections that accept() has put aside, and their addresses


def when_ready(server):
    """Prepare the server for browsers that open spare connections, and for its end."""
    # When the terminal is closed: gunicorn would reload, and keep its port for ever.
    server.handle_hup = server.handle_int
    if hasattr(socket, "TCP_DEFER_ACCEPT"):
        for listener in server.LISTENERS:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, SILENCE)


def accept(worker, listener):
    """Where the system can't: put a connection aside until it has sent something."""
    ready, _, _ = select(silent, [], [], 0)
    if ready:
        client = ready[0]
        worker.wait_fds.remove(client)
        client.setblocking(True)
        worker.handle(listener, client, silent.pop(client))
    else:
        client, address = listener.accept()
        worker.wait_fds.append(client)
        silent[client] = address


# macOS. As a worker_class of its own it would make `--threads 4` do nothing.
if not hasattr(socket, "TCP_DEFER_ACCEPT"):
    SyncWorker.accept = accept


def worker_int(worker):
    """End at Ctrl-C: gunicorn would log the interrupted sleep as an error."""
    os._exit(0)
