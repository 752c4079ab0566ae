"""loomy.Pool."""

import asyncio
import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from .base import Answers, Competitor, Function


class Loomy(Competitor):
    name: ClassVar[str] = "loomy"
    module: ClassVar[str] = "loomy"
    distribution: ClassVar[str] = "loomy"

    def __init__(self) -> None:
        super().__init__()
        self.affinity = "any"
        self.hooks: Any = None
        self.ordered = True

    def open(self, fn: Function, size: int) -> None:
        self.fn = fn
        self.size = size
        self._pool = importlib.import_module("loomy").Pool(fn, size, affinity=self.affinity, hooks=self.hooks)

    def close(self) -> None:
        self._pool.shutdown()

    def roundtrip(self, payloads: Iterable[Any]) -> Any:
        process = self._pool.process
        answer = None
        for payload in payloads:
            answer = process(payload)
        return answer

    def submit_all(self, payloads: Iterable[Any]) -> list[Any]:
        process_async = self._pool.process_async
        return [process_async(payload) for payload in payloads]

    def collect(self, handles: Sequence[Any]) -> list[Any]:
        return [result.wait() for result in handles]

    async def await_each(self, payloads: Iterable[Any]) -> Any:
        process_async = self._pool.process_async
        answer = None
        for payload in payloads:
            answer = await process_async(payload)
        return answer

    async def gather(self, payloads: Iterable[Any]) -> list[Any]:
        process_async = self._pool.process_async
        return await asyncio.gather(*[process_async(payload) for payload in payloads])

    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        # As the others' map: a list of results, or the error of a job raised.
        return self._pool.process_batch(payloads).raise_for_errors(), None

    def imap(self, payloads: Iterable[Any]) -> Iterator[Any]:
        answers: Iterator[Any] = self._pool.map(payloads, ordered=self.ordered)
        return answers

    def batch_async(self, payloads: Sequence[Any]) -> Any:
        """A whole batch behind one handle."""
        return self._pool.process_batch_async(payloads)

    def stats(self) -> Any:
        return self._pool.stats()
