"""A client for event streams by the thousand.

On asyncio's bare protocols: an HTTP library takes more CPU per event than the servers
do, and on two cores it would be the client that is measured.
"""

import asyncio
import re
import time

# Ten at a time, about 500 in a second: a pace that every server can keep. 21 ms is no
# part of a second, so that the events come spread over time.
BURST = 10
BURST_EVERY = 0.021  # seconds
WAITING = 50  # at most, of those that a server does not answer
REQUEST = b"GET /%s HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n"
EVENT = re.compile(rb'event:i\ndata: \{"i": (\d+)\}\n\n')


class Stream(asyncio.Protocol):
    """One event stream, closed by the client after event 0 or the first wrong one.

    times: when each event arrived, in seconds of time.perf_counter().
    """

    def __init__(self, count):
        self.loop = asyncio.get_running_loop()
        self.expected = count
        self.times = []
        self.opened = self.loop.create_future()  # by the first event
        self.ended = self.loop.create_future()
        self.buffer = b""

    @property
    def complete(self):
        """Whether every event has arrived, in order."""
        return self.expected < 0

    def connection_made(self, transport):
        self.transport = transport
        transport.write(REQUEST % (b"sse/", b"keep-alive"))

    def data_received(self, data):
        self.buffer += data
        end = 0
        for match in EVENT.finditer(self.buffer):
            if int(match[1]) != self.expected:
                self.transport.abort()
                return
            self.expected -= 1
            self.times.append(time.perf_counter())
            end = match.end()
        self.buffer = self.buffer[end:]
        if end:
            settle(self.opened)
        if self.complete or not (self.times or b" 200 " in self.buffer):
            self.transport.abort()

    def connection_lost(self, exc):
        settle(self.opened)
        settle(self.ended)


def settle(future):
    """Mark a future as done; more than once does no harm."""
    if not future.done():
        future.set_result(None)


async def open_streams(port, number, count, patience, every=BURST_EVERY):
    """Open that many streams; give up when none opens for `patience` seconds.

    every: seconds between one burst and the next. Returns the streams that have opened;
    the ones still waiting stay connected.
    """
    streams = [Stream(count) for _ in range(number)]
    queue = enumerate(streams)
    begin = asyncio.get_running_loop().time()

    async def opener():
        for place, stream in queue:  # shared: each opener takes the next
            at = begin + place // BURST * every
            await asyncio.sleep(at - stream.loop.time())
            await open_stream(stream, port)

    pending = {asyncio.create_task(opener()) for _ in range(WAITING)}
    before, opened = -1, 0
    while pending and before < opened:
        before = opened
        _, pending = await asyncio.wait(pending, timeout=patience)
        opened = sum(bool(stream.times) for stream in streams)
    for task in pending:
        task.cancel()
    return [stream for stream in streams if stream.times]


async def open_stream(stream, port):
    """Connect a stream and wait for its first event or its end."""
    try:
        await stream.loop.create_connection(lambda: stream, "127.0.0.1", port)
    except OSError:
        return  # refused: a stream that does not open
    await stream.opened


async def fetch_page(port):
    """Load / on a connection of its own; return the seconds it took."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST % (b"", b"close"))
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OSError(f"/ was answered by {answer[:40]!r}")
    return loop.time() - begin
