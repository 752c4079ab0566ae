"""multiprocessing.pool.ThreadPool."""

from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.pool import AsyncResult, ThreadPool
from typing import Any, ClassVar

from .base import Answers, Competitor, Function

_STREAM_CHUNK = 256


class MpThreadPool(Competitor):
    name: ClassVar[str] = "mp"

    def open(self, fn: Function, size: int) -> None:
        self.fn = fn
        self.size = size
        self._pool = ThreadPool(size)

    def close(self) -> None:
        self._pool.close()
        self._pool.join()

    def roundtrip(self, payloads: Iterable[Any]) -> Any:
        fn = self.fn
        apply = self._pool.apply
        answer = None
        for payload in payloads:
            answer = apply(fn, (payload,))
        return answer

    def submit_all(self, payloads: Iterable[Any]) -> list[AsyncResult[Any]]:
        fn = self.fn
        apply_async = self._pool.apply_async
        return [apply_async(fn, (payload,)) for payload in payloads]

    def collect(self, handles: Sequence[AsyncResult[Any]]) -> list[Any]:
        return [result.get() for result in handles]

    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        return self._pool.map(self.fn, payloads, chunksize), None

    def imap(self, payloads: Iterable[Any]) -> Iterator[Any]:
        # With chunks imap is already a generator of single answers.
        return iter(self._pool.imap(self.fn, payloads, _STREAM_CHUNK))
