"""anyio.to_thread, in an event loop of its own: asyncio's, which is its default."""

import asyncio
import importlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from .base import Answers, Competitor, Function


class Anyio(Competitor):
    """Its threads end with the task that first asked for them, so each call from outside starts them anew."""

    name: ClassVar[str] = "anyio"
    module: ClassVar[str] = "anyio"
    distribution: ClassVar[str] = "anyio"
    submits: ClassVar[bool] = False

    def open(self, fn: Function, size: int) -> None:
        self.fn = fn
        self.size = size
        self._anyio = importlib.import_module("anyio")
        self._run_sync = importlib.import_module("anyio.to_thread").run_sync
        self._runner = asyncio.Runner()

    def close(self) -> None:
        self._runner.close()

    def roundtrip(self, payloads: Iterable[Any]) -> Any:
        return self._runner.run(self.await_each(payloads))

    async def await_each(self, payloads: Iterable[Any]) -> Any:
        fn = self.fn
        run_sync = self._run_sync
        limiter = self._anyio.CapacityLimiter(self.size)
        answer = None
        for payload in payloads:
            answer = await run_sync(fn, payload, limiter=limiter)
        return answer

    async def gather(self, payloads: Iterable[Any]) -> list[Any]:
        fn = self.fn
        run_sync = self._run_sync
        limiter = self._anyio.CapacityLimiter(self.size)
        jobs = list(payloads)
        answers: list[Any] = [None] * len(jobs)

        async def answer(index: int, payload: Any) -> None:
            answers[index] = await run_sync(fn, payload, limiter=limiter)

        async with self._anyio.create_task_group() as tasks:
            for index, payload in enumerate(jobs):
                tasks.start_soon(answer, index, payload)
        return answers

    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        # It has no chunks: a coroutine for each payload.
        return self._runner.run(self.gather(payloads)), None
