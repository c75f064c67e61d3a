"""A client for event streams by the thousand, and for plain pages.

On asyncio's bare protocols: an HTTP library takes more CPU per event than the servers
do, and on two cores it would be the client that is measured.
"""

import asyncio
import time
from contextlib import suppress

PACE = 0.0021  # seconds between two streams, so that their events spread over a second
REQUEST = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Stream(asyncio.Protocol):
    """An event stream; times: when each event arrived, by time.perf_counter()."""

    def __init__(self):
        self.times = []
        self.answered = asyncio.Event()  # by the first event or an early end

    async def open(self, port):
        """Connect, and wait for the first event or the end."""
        connect = asyncio.get_running_loop().create_connection
        with suppress(OSError):  # refused: a stream that does not open
            await connect(lambda: self, "127.0.0.1", port)
            await self.answered.wait()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(REQUEST % b"/sse/")

    def data_received(self, data):
        self.times += [time.perf_counter()] * data.count(b"event:i\n")
        if self.times:
            self.answered.set()

    def connection_lost(self, exc):
        self.answered.set()


async def open_streams(port, number, patience):
    """Open streams, one every PACE seconds; return those that have opened.

    patience: seconds without a further one, after which it gives up.
    """
    streams, tasks = [Stream() for _ in range(number)], set()
    begin = time.perf_counter()
    for place, stream in enumerate(streams):
        await asyncio.sleep(begin + place * PACE - time.perf_counter())
        tasks.add(asyncio.create_task(stream.open(port)))
    opened = tasks
    while opened and tasks:
        opened, tasks = await asyncio.wait(
            tasks, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
    return [stream for stream in streams if stream.times]


async def fetch_page(port):
    """Load / on a connection of its own; OSError for anything but 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST % b"/")
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OSError(f"/ was answered by {answer[:40]!r}")
