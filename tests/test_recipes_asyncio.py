"""Recipes for asyncio, run as they would be used."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator

import pytest
from helpers import WAIT
from loops import Run, in_every_loop, soon

import loomy
import loomy.aio
from loomy.aio import _shared


@pytest.fixture(autouse=True)
def _close_the_shared_pool() -> Iterator[None]:
    yield
    _shared.get().shutdown()


def digest(line: bytes) -> bytes:
    return hashlib.sha256(line).hexdigest().encode() + b"\n"


@in_every_loop
def test_a_server_that_hands_its_blocking_work_to_threads(run: Run[None]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            writer.write(await loomy.aio.to_thread(digest, line.strip()))
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def client(port: int, name: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for i in range(10):
            writer.write(f"{name} {i}\n".encode())
        writer.write_eof()
        answers = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answers

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with asyncio.timeout(WAIT):
                answers = await asyncio.gather(*(client(port, name) for name in range(20)))
        for name, answer in enumerate(answers):
            assert answer == b"".join(digest(f"{name} {i}".encode()) for i in range(10))

    run(main())


@in_every_loop
def test_a_request_that_is_given_up_stops_its_work(run: Run[None]) -> None:
    """A handler that waits no longer than it wants to; the work polls whether anybody still does."""
    started, stopped = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        context = loomy.current_context()
        assert context is not None
        try:
            while True:
                context.wait(0.001)
                loomy.check_cancelled()
        except loomy.JobCancelled:
            stopped.set()
            raise

    async def handler() -> str:
        try:
            async with asyncio.timeout(0.02):
                await loomy.aio.to_thread(work)
        except TimeoutError:
            return "503"
        return "200"

    async def main() -> None:
        assert await handler() == "503"
        if started.is_set():  # else it was cancelled before it began
            await soon(stopped.is_set)

    run(main())


@in_every_loop
def test_a_pipeline_from_one_pool_to_the_next(run: Run[None]) -> None:
    async def main() -> None:
        async with loomy.Pool(str.encode, size=2) as encode, loomy.Pool(digest, size=2) as hashing:
            lines = [f"line {i}" for i in range(100)]
            digests = [await hashing.process_async(block) async for block in encode.map(lines)]
        assert digests == [digest(line.encode()) for line in lines]

    run(main())
