"""tbb4py: tbb.Pool, the interface of multiprocessing.Pool over oneTBB's tasks."""

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from .base import Answers, Competitor, Function

_STREAM_CHUNK = 256

T = TypeVar("T")


class Tbb(Competitor):
    """The pool ignores the size it is given: tasks run on as many threads as the arena has in which they are
    submitted, and one of those is the submitter, which does not help while it waits.
    """

    name: ClassVar[str] = "tbb4py"
    module: ClassVar[str] = "tbb"
    distribution: ClassVar[str] = "tbb4py"

    def open(self, fn: Function, size: int) -> None:
        self.fn = fn
        self.size = size
        tbb = importlib.import_module("tbb")
        # In force for as long as it is there.
        self._limit = tbb.global_control(tbb.global_control.max_allowed_parallelism, size + 1)
        self._arena = tbb.task_arena(size + 1)
        self._pool = tbb.Pool(size)

    def close(self) -> None:
        self._pool.close()
        self._arena.execute(self._pool.join)  # a task group is waited for where its tasks are
        del self._limit

    def roundtrip(self, payloads: Iterable[Any]) -> Any:
        fn = self.fn
        apply = self._pool.apply

        def one_by_one() -> Any:
            answer = None
            for payload in payloads:
                answer = apply(fn, (payload,))
            return answer

        return self._in_arena(one_by_one)

    def submit_all(self, payloads: Iterable[Any]) -> list[Any]:
        fn = self.fn
        apply_async = self._pool.apply_async
        return self._in_arena(lambda: [apply_async(fn, (payload,)) for payload in payloads])

    def collect(self, handles: Sequence[Any]) -> list[Any]:
        return [result.get() for result in handles]

    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        chunk = self._chunk(len(payloads), chunksize)
        answers: list[Any] = self._in_arena(lambda: self._pool.map(self.fn, payloads, chunk))
        return answers, None

    def imap(self, payloads: Iterable[Any]) -> Iterator[Any]:
        return iter(self._in_arena(lambda: self._pool.imap(self.fn, payloads, _STREAM_CHUNK)))

    def _in_arena(self, call: Callable[[], T]) -> T:
        """What the call returns, which `task_arena.execute` does not."""
        returned: list[T] = []
        self._arena.execute(lambda: returned.append(call()))
        return returned[0]
