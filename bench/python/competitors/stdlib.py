"""concurrent.futures.ThreadPoolExecutor."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar

from .base import Answers, Competitor, Function


class Stdlib(Competitor):
    name: ClassVar[str] = "stdlib"

    def open(self, fn: Function, size: int) -> None:
        self.fn = fn
        self.size = size
        self._pool = ThreadPoolExecutor(size)

    def close(self) -> None:
        self._pool.shutdown()

    def roundtrip(self, payloads: Iterable[Any]) -> Any:
        fn = self.fn
        submit = self._pool.submit
        answer = None
        for payload in payloads:
            answer = submit(fn, payload).result()
        return answer

    def submit_all(self, payloads: Iterable[Any]) -> list[Future[Any]]:
        fn = self.fn
        submit = self._pool.submit
        return [submit(fn, payload) for payload in payloads]

    def collect(self, handles: Sequence[Future[Any]]) -> list[Any]:
        return [future.result() for future in handles]

    async def await_each(self, payloads: Iterable[Any]) -> Any:
        fn = self.fn
        pool = self._pool
        run_in_executor = asyncio.get_running_loop().run_in_executor
        answer = None
        for payload in payloads:
            answer = await run_in_executor(pool, fn, payload)
        return answer

    async def gather(self, payloads: Iterable[Any]) -> list[Any]:
        fn = self.fn
        pool = self._pool
        run_in_executor = asyncio.get_running_loop().run_in_executor
        return await asyncio.gather(*[run_in_executor(pool, fn, payload) for payload in payloads])

    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        # Its chunksize does nothing for threads: every payload is a task.
        return list(self._pool.map(self.fn, payloads)), None

    def imap(self, payloads: Iterable[Any]) -> Iterator[Any]:
        return self._pool.map(self.fn, payloads)
