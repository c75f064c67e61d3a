"""A simulated browser tab: it loads the page, reads the stream, and reconnects."""

import asyncio
import time
from contextlib import aclosing, suppress
from typing import NamedTuple

import httpx
from httpx_sse import aconnect_sse

from tests.support.server import HTTPX_OPTIONS

RECONNECT = 3.0  # seconds that Chromium waits before its EventSource reconnects
COUNTDOWN = list(range(100, -1, -1))  # what the post's page shows


class Record(NamedTuple):
    """One thing that happened to a tab.

    at: seconds since the recording began; kind: "open" (asks for the page), "page" (has
    it, asks for the stream), "number" (value: the number), "cut" (value: the last
    number, or None), "retry" (asks for the stream again), "blastoff" (has received 0).
    """

    at: float
    kind: str
    value: int | None = None


async def browse(url, record, clock=time.monotonic):
    """Be a tab until Blastoff, and call record() with each Record."""

    def note(kind, value=None):
        record(Record(clock(), kind, value))

    patient = {"timeout": None} | HTTPX_OPTIONS
    async with httpx.AsyncClient(base_url=url, **patient) as client:
        note("open")
        (await client.get("/")).raise_for_status()
        note("page")
        while (last := await count(client, note)) != 0:
            note("cut", last)
            await asyncio.sleep(RECONNECT)
            note("retry")
        note("blastoff")


async def count(client, note):
    """Read one event stream; return its last number."""
    last = None
    with suppress(httpx.TransportError):  # the stream of a killed worker breaks off
        async with aclosing(stream_numbers(client)) as stream:
            async for last in stream:
                note("number", last)
                if last == 0:
                    break  # the page closes its EventSource here, too
    return last


async def browse_until(done, url, tabs, seconds):
    """Open tabs, each when the one before counts, and wait until done(*records).

    Returns the records of each tab; TimeoutError after so many seconds.
    """
    records = [[] for _ in range(tabs)]
    async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
        tasks = []
        for place, tab in enumerate(records, start=1):
            tasks.append(group.create_task(browse(url, tab.append)))
            while place < tabs and not received(tab):
                await asyncio.sleep(0.05)
        while not done(*records):
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
    return records


def received(records):
    """The numbers that a tab received, in their order."""
    return [record.value for record in records if record.kind == "number"]


async def stream_numbers(client):
    """Open the event stream and yield its numbers as they arrive."""
    async with aconnect_sse(client, "GET", "/sse/") as source:
        source.response.raise_for_status()
        async for event in source.aiter_sse():
            yield event.json()["i"]
