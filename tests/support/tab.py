"""Be a browser's tab: load the page, read its stream, reconnect; and record it all."""

import asyncio
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass

import httpx
from httpx_sse import aconnect_sse

RECONNECT = 3.0  # seconds; what Chromium waits before EventSource tries again
COUNTDOWN = list(range(100, -1, -1))


@dataclass(frozen=True)
class Record:
    """One thing that happened to a tab.

    at: seconds since the recording began; kind: "open" (asks for the page), "page" (has
    it, asks for the stream), "number" (value: the number), "cut" (value: the last
    number, or None), "retry" (asks for the stream again), "blastoff" (has received 0).
    """

    at: float
    tab: int
    kind: str
    value: int | None = None


async def browse(url, tab, record, clock=time.monotonic):
    """Be a browser's tab: load the page, read its stream, reconnect when it is cut.

    record: is called with each Record; clock: returns the time for it. Raises
    httpx.HTTPError if the page does not come.
    """

    def note(kind, value=None):
        record(Record(clock(), tab, kind, value))

    # No proxy from the environment, and no certificates to load: this is loopback.
    local = {"trust_env": False, "verify": False}
    async with httpx.AsyncClient(base_url=url, timeout=None, **local) as client:
        note("open")
        (await client.get("/")).raise_for_status()
        note("page")
        while not await count(client, note):
            await asyncio.sleep(RECONNECT)
            note("retry")


async def browse_until(done, url, tabs, seconds):
    """Open tabs, each when the one before counts, and wait until done(*records).

    Returns the records of each tab; TimeoutError after so many seconds.
    """
    records = [[] for _ in range(tabs)]
    async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
        tasks = []
        for place, tab in enumerate(records, start=1):
            tasks.append(group.create_task(browse(url, place, tab.append)))
            if place < tabs:
                await until(lambda tab=tab: numbers(tab))
        await until(lambda: done(*records))
        for task in tasks:
            task.cancel()
    return records


async def until(condition):
    while not condition():
        await asyncio.sleep(0.05)


def numbers(records):
    """The numbers that a tab received, in their order."""
    return [record.value for record in records if record.kind == "number"]


def first(records, kind):
    """The first record of a kind, or None."""
    return next((record for record in records if record.kind == kind), None)


async def count(client, note):
    """Read one event stream; return whether it reached 0."""
    last = None
    with suppress(httpx.TransportError):  # a killed worker's stream ends in the middle
        async with aclosing(stream_numbers(client)) as stream:
            async for last in stream:
                note("number", last)
                if last == 0:
                    break  # as the page does, which closes its EventSource
    note("blastoff" if last == 0 else "cut", last)
    return last == 0


async def stream_numbers(client):
    """Open the event stream and yield its numbers as they arrive."""
    async with aconnect_sse(client, "GET", "/sse/") as source:
        source.response.raise_for_status()
        async for event in source.aiter_sse():
            yield event.json()["i"]


async def read_numbers(client, most=None):
    """Return the numbers of a stream, all or as many as wanted; then leave."""
    numbers = []
    async with aclosing(stream_numbers(client)) as stream:
        async for number in stream:
            numbers.append(number)
            if len(numbers) == most:
                break
    return numbers
