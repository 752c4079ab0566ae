"""No pool at all: what the work costs by itself."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from .base import Answers, Competitor, Function


class Sequential(Competitor):
    name: ClassVar[str] = "sequential"

    def open(self, fn: Function, size: int) -> None:
        self.fn = fn
        self.size = size

    def close(self) -> None:
        pass

    def roundtrip(self, payloads: Iterable[Any]) -> Any:
        fn = self.fn
        answer = None
        for payload in payloads:
            answer = fn(payload)
        return answer

    def submit_all(self, payloads: Iterable[Any]) -> list[Any]:
        fn = self.fn
        return [fn(payload) for payload in payloads]

    def collect(self, handles: Sequence[Any]) -> list[Any]:
        return list(handles)

    async def await_each(self, payloads: Iterable[Any]) -> Any:
        fn = self.fn

        async def call(payload: Any) -> Any:
            return fn(payload)

        answer = None
        for payload in payloads:
            answer = await call(payload)
        return answer

    async def gather(self, payloads: Iterable[Any]) -> list[Any]:
        fn = self.fn

        async def call(payload: Any) -> Any:
            return fn(payload)

        return await asyncio.gather(*[call(payload) for payload in payloads])

    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        return list(map(self.fn, payloads)), None

    def imap(self, payloads: Iterable[Any]) -> Iterator[Any]:
        return map(self.fn, payloads)
