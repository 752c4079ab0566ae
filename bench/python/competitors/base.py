"""What every competitor offers the workloads.

A measured loop is one method here, written out in each competitor's file with its hot callables bound to
locals first: no competitor pays for a wrapper, and all are read side by side.
"""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

Function = Callable[[Any], Any]
Answers = tuple[list[Any], object]
"""The answers, and whatever came with them and is still alive when the clock stops."""


class Competitor(ABC):
    name: ClassVar[str]
    module: ClassVar[str] = ""
    """What is imported; empty when the standard library brings it along."""
    distribution: ClassVar[str] = ""
    submits: ClassVar[bool] = True
    """Whether one job can be submitted without waiting for it."""

    def __init__(self) -> None:
        self.fn: Function
        self.size = 0

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be measured here; empty if it can."""
        found = not cls.module or importlib.util.find_spec(cls.module) is not None
        return "" if found else "not installed"

    @classmethod
    def version(cls) -> str:
        if not cls.distribution:
            return ""
        try:
            return version(cls.distribution)
        except PackageNotFoundError:  # imported from a build folder
            return "not installed as a distribution"

    @contextmanager
    def opened(self, fn: Function, size: int) -> Iterator[None]:
        self.open(fn, size)
        try:
            yield
        finally:
            self.close()

    @abstractmethod
    def open(self, fn: Function, size: int) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    def roundtrip(self, payloads: Iterable[Any]) -> Any:
        """One job at a time, each waited for; returns the last answer."""
        raise NotImplementedError(self.name)

    def submit_all(self, payloads: Iterable[Any]) -> list[Any]:
        """Submit without waiting; returns one handle per job."""
        raise NotImplementedError(self.name)

    def collect(self, handles: Sequence[Any]) -> list[Any]:
        """The answers of `submit_all`, in order."""
        raise NotImplementedError(self.name)

    async def await_each(self, payloads: Iterable[Any]) -> Any:
        """One job at a time, each awaited in the running event loop; returns the last answer."""
        raise NotImplementedError(self.name)

    async def gather(self, payloads: Iterable[Any]) -> list[Any]:
        """The answers of jobs that `asyncio.gather` waits for, in order."""
        raise NotImplementedError(self.name)

    @abstractmethod
    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        """All answers in order; ``chunksize=None`` is the best this competitor knows for tiny jobs."""

    def imap(self, payloads: Iterable[Any]) -> Iterator[Any]:
        """Answers one by one, from payloads of unknown number."""
        raise NotImplementedError(self.name)

    def _chunk(self, jobs: int, chunksize: int | None) -> int:
        """The rule of multiprocessing's own default, for peers that have none: four chunks a worker."""
        return chunksize or max(1, -(-jobs // (4 * self.size)))
