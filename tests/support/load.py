"""A client for event streams by the thousand, and for plain pages.

On asyncio's bare protocols: an HTTP library takes more CPU per event than the servers
do, and on two cores it would be the client that is measured.
"""

import asyncio
import time
from contextlib import suppress

PACE = 0.0021  # seconds from one stream to the next; not a whole part of a second
REQUEST = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Stream(asyncio.Protocol):
    """An event stream that the client closes at the first event out of order.

    times: when each event arrived, in seconds of time.perf_counter().
    """

    def __init__(self, count):
        self.expected, self.times, self.rest = count, [], b""
        self.answered = asyncio.Event()  # by the first event or an early end
        self.ended = asyncio.get_running_loop().create_future()

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
        *events, self.rest = (self.rest + data).split(b"\n\n")
        for event in events:
            if not event.endswith(b'\nevent:i\ndata: {"i": %d}' % self.expected):
                return self.transport.abort()
            self.expected -= 1
            self.times.append(time.perf_counter())
            self.answered.set()

    def connection_lost(self, exc):
        self.answered.set()
        self.ended.set_result(None)


async def open_streams(port, number, count, patience):
    """Open that many streams, one every PACE seconds; return those that have opened.

    count: each one's first event; patience: seconds without a further one, to give up.
    """
    streams, tasks = [Stream(count) for _ in range(number)], set()
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
