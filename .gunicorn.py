"""Hooks for what gunicorn has no command line option for.

Browsers open spare connections in advance. A sync worker that accepts one waits 30
seconds for a request and serves nobody, so silent connections must not reach it.
"""

import os
import socket
from select import select

from gunicorn.workers.sync import SyncWorker


def when_ready(server):
    # When its terminal is closed, gunicorn would reload and keep its port for ever.
    server.handle_hup = server.handle_int
    if not hasattr(socket, "TCP_DEFER_ACCEPT"):  # macOS
        SyncWorker.accept = accept  # gunicorn would ignore --threads with a new class
        return
    for listener in server.LISTENERS:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 300)


def accept(worker, listener):
    client, address = listener.accept()
    if select([client], [], [], 0.5)[0]:
        client.setblocking(True)
        worker.handle(listener, client, address)
    else:
        client.close()  # the browser opens another when it has something to ask


def worker_int(worker):
    if worker.cfg.worker_class_str != "asgi":  # that one ends its streams in order
        os._exit(0)  # or gunicorn would log the interrupted sleep as an error
