"""joblib.Parallel with its threading backend, kept open so that its pool is reused."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from .base import Answers, Competitor, Function

_STREAM_CHUNK = 256


class Joblib(Competitor):
    name: ClassVar[str] = "joblib"
    module: ClassVar[str] = "joblib"
    distribution: ClassVar[str] = "joblib"
    submits: ClassVar[bool] = False

    def open(self, fn: Function, size: int) -> None:
        joblib = importlib.import_module("joblib")
        self.fn = fn
        self.size = size
        self._task = joblib.delayed(fn)
        self._parallel = joblib.Parallel(size, backend="threading", pre_dispatch="all")
        self._parallel.__enter__()
        self._stream = joblib.Parallel(
            size, backend="threading", return_as="generator", batch_size=_STREAM_CHUNK
        )

    def close(self) -> None:
        self._parallel.__exit__(None, None, None)

    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        task = self._task
        self._parallel.batch_size = self._chunk(len(payloads), chunksize)
        return self._parallel([task(payload) for payload in payloads]), None

    def imap(self, payloads: Iterable[Any]) -> Iterator[Any]:
        task = self._task
        answers: Iterator[Any] = self._stream(task(payload) for payload in payloads)
        return answers
