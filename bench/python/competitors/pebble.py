"""pebble.ThreadPool.

Its own map (5.2.3) races with itself: it logs "unexpected state" hundreds of times and sometimes raises
InvalidStateError in a callback. Chunks scheduled by hand do the same work without that cost.
"""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, ClassVar

from .base import Answers, Competitor, Function

_STREAM_CHUNK = 256


class Pebble(Competitor):
    name: ClassVar[str] = "pebble"
    module: ClassVar[str] = "pebble"
    distribution: ClassVar[str] = "Pebble"

    def open(self, fn: Function, size: int) -> None:
        self.fn = fn
        self.size = size
        self._pool = importlib.import_module("pebble").ThreadPool(size)

    def close(self) -> None:
        self._pool.close()
        self._pool.join()

    def roundtrip(self, payloads: Iterable[Any]) -> Any:
        fn = self.fn
        schedule = self._pool.schedule
        answer = None
        for payload in payloads:
            answer = schedule(fn, (payload,)).result()
        return answer

    def submit_all(self, payloads: Iterable[Any]) -> list[Any]:
        fn = self.fn
        schedule = self._pool.schedule
        return [schedule(fn, (payload,)) for payload in payloads]

    def collect(self, handles: Sequence[Any]) -> list[Any]:
        return [future.result() for future in handles]

    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        schedule = self._pool.schedule
        fn = self.fn
        chunk = self._chunk(len(payloads), chunksize)
        starts = range(0, len(payloads), chunk)
        futures = [schedule(_run_chunk, (fn, payloads[start : start + chunk])) for start in starts]
        return [answer for future in futures for answer in future.result()], futures

    def imap(self, payloads: Iterable[Any]) -> Iterator[Any]:
        schedule = self._pool.schedule
        fn = self.fn
        source = iter(payloads)
        chunks = iter(lambda: list(islice(source, _STREAM_CHUNK)), [])
        futures = [schedule(_run_chunk, (fn, chunk)) for chunk in chunks]
        return chain.from_iterable(future.result() for future in futures)


def _run_chunk(fn: Function, payloads: Sequence[Any]) -> list[Any]:
    return list(map(fn, payloads))
