"""dask.threaded.get on a thread pool that it is given, so that it does not make one for each call."""

import importlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

from .base import Answers, Competitor, Function


class Dask(Competitor):
    """dask.bag hashes all its payloads first; a graph whose tasks are chunks does the same work without."""

    name: ClassVar[str] = "dask"
    module: ClassVar[str] = "dask"
    distribution: ClassVar[str] = "dask"
    submits: ClassVar[bool] = False

    def open(self, fn: Function, size: int) -> None:
        self.fn = fn
        self.size = size
        self._get = importlib.import_module("dask.threaded").get
        self._pool = ThreadPoolExecutor(size)

    def close(self) -> None:
        self._pool.shutdown()

    def roundtrip(self, payloads: Iterable[Any]) -> Any:
        fn = self.fn
        get = self._get
        pool = self._pool
        answer = None
        for payload in payloads:
            answer = get({"job": (fn, payload)}, "job", pool=pool)
        return answer

    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        chunk = self._chunk(len(payloads), chunksize)
        # Bound to their function, or dask would look into each chunk for names of other tasks.
        graph = {
            f"chunk {start}": (partial(_run_chunk, self.fn, payloads[start : start + chunk]),)
            for start in range(0, len(payloads), chunk)
        }
        chunks = self._get(graph, list(graph), pool=self._pool, num_workers=self.size)
        return [answer for answers in chunks for answer in answers], chunks


def _run_chunk(fn: Function, payloads: Sequence[Any]) -> list[Any]:
    return list(map(fn, payloads))
