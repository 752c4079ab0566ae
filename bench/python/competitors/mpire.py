"""mpire.WorkerPool with threads, kept alive between calls.

A pool whose workers were started by ``apply`` calls the function of a later ``map`` wrongly (2.10.2): hence
one pool for single jobs and one for many. Payloads are pickled, threads or not.
"""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from .base import Answers, Competitor, Function

_STREAM_CHUNK = 256


class Mpire(Competitor):
    name: ClassVar[str] = "mpire"
    module: ClassVar[str] = "mpire"
    distribution: ClassVar[str] = "mpire"

    def open(self, fn: Function, size: int) -> None:
        self.fn = fn
        self.size = size
        # Neither starts a thread before it is asked for something.
        make = importlib.import_module("mpire").WorkerPool
        self._single = make(size, start_method="threading", keep_alive=True)
        self._many = make(size, start_method="threading", keep_alive=True)

    def close(self) -> None:
        self._single.stop_and_join()
        self._many.stop_and_join()

    def roundtrip(self, payloads: Iterable[Any]) -> Any:
        fn = self.fn
        apply = self._single.apply
        answer = None
        for payload in payloads:
            answer = apply(fn, (payload,))
        return answer

    def submit_all(self, payloads: Iterable[Any]) -> list[Any]:
        fn = self.fn
        apply_async = self._single.apply_async
        return [apply_async(fn, (payload,)) for payload in payloads]

    def collect(self, handles: Sequence[Any]) -> list[Any]:
        return [result.get() for result in handles]

    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        return self._many.map(self.fn, payloads, chunk_size=self._chunk(len(payloads), chunksize)), None

    def imap(self, payloads: Iterable[Any]) -> Iterator[Any]:
        # Without a length it would read all payloads first; so it does here, since nobody knows their number.
        answers: Iterator[Any] = self._many.imap(self.fn, payloads, chunk_size=_STREAM_CHUNK)
        return answers
