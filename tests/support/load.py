"""A client for event streams by the thousand, and for plain pages.

It uses asyncio's protocols directly. With an HTTP library the client would need more
CPU per event than the servers, and slow them down on two cores.
"""

import asyncio
import time
from contextlib import suppress

PACE = 0.0021  # seconds between two streams, which spreads their events over a second
REQUEST = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Stream(asyncio.Protocol):
    """An event stream; times: when each event arrived, by time.perf_counter()."""

    def __init__(self):
        self.times = []

    def connection_made(self, transport):
        self.transport = transport
        transport.write(REQUEST % b"/sse/")

    def data_received(self, data):
        self.times += [time.perf_counter()] * data.count(b"event:i\n")


async def open_streams(port, number, patience):
    """Open streams, one every PACE seconds; return those that have sent an event.

    patience: seconds without a further one, after which it gives up.
    """
    connect = asyncio.get_running_loop().create_connection
    streams, begin = [], time.perf_counter()
    for place in range(number):
        await asyncio.sleep(begin + place * PACE - time.perf_counter())
        with suppress(OSError):  # the connection is refused
            streams.append((await connect(Stream, "127.0.0.1", port))[1])
    opened, deadline = [], time.perf_counter() + patience
    while len(opened) < number and time.perf_counter() < deadline:
        await asyncio.sleep(0.05)
        before, opened = opened, [stream for stream in streams if stream.times]
        if len(opened) > len(before):
            deadline = time.perf_counter() + patience
    return opened


async def fetch_page(port):
    """Load / on a connection of its own; OSError for anything but 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST % b"/")
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OSError(f"/ was answered by {answer[:40]!r}")
