"""hypertile: one work-stealing pool for the whole process, whose tasks can only be awaited.

Its ``result()`` raises until the task is done, so a caller without an event loop cannot wait; its pool cannot
be closed, and its size cannot be changed once it was used.
"""

import asyncio
import importlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from .base import Answers, Competitor, Function


class Hypertile(Competitor):
    name: ClassVar[str] = "hypertile"
    module: ClassVar[str] = "hypertile"
    distribution: ClassVar[str] = "hypertile"
    submits: ClassVar[bool] = False

    def open(self, fn: Function, size: int) -> None:
        self.fn = fn
        self.size = size
        self._hypertile = importlib.import_module("hypertile")
        self._hypertile.configure(size)
        self._runner = asyncio.Runner()

    def close(self) -> None:
        self._runner.close()

    def roundtrip(self, payloads: Iterable[Any]) -> Any:
        return self._runner.run(self.await_each(payloads))

    async def await_each(self, payloads: Iterable[Any]) -> Any:
        fn = self.fn
        to_thread = self._hypertile.to_thread
        answer = None
        for payload in payloads:
            answer = await to_thread(fn, payload)
        return answer

    async def gather(self, payloads: Iterable[Any]) -> list[Any]:
        fn = self.fn
        to_thread = self._hypertile.to_thread
        return await asyncio.gather(*[to_thread(fn, payload) for payload in payloads])

    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        async def together() -> list[Any]:
            answers: list[Any] = await self._hypertile.gather_to_thread(self.fn, payloads)
            return answers

        return self._runner.run(together()), None
