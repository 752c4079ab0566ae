"""What checkers infer for `loomy.Executor` and its futures. Never run: see test_typing.py."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterator
from typing import assert_type

import loomy
from loomy import Executor, Future, PoolStats


def area(width: int, height: int = 1, *, unit: str = "m") -> str:
    raise NotImplementedError


def the_signature_is_kept(executor: Executor) -> None:
    assert_type(executor.submit(area, 1), Future[str])
    assert_type(executor.submit(area, 1, height=2, unit="cm"), Future[str])
    assert_type(executor.submit(lambda: 1).result(), int)


def futures_are_the_standard_librarys(future: Future[str]) -> None:
    plain: concurrent.futures.Future[str] = future
    assert_type(plain.result(timeout=1.0), str)
    assert_type(future.result(1.0), str)
    assert_type(future.exception(), BaseException | None)
    assert_type(future.cancel(), bool)
    done, _ = concurrent.futures.wait([future])
    assert_type(done, set[concurrent.futures.Future[str]])
    for ended in concurrent.futures.as_completed([future]):
        assert_type(ended.result(), str)


def it_is_an_executor(executor: Executor, loop: asyncio.AbstractEventLoop) -> None:
    plain: concurrent.futures.Executor = executor
    threads: concurrent.futures.ThreadPoolExecutor = executor
    loop.set_default_executor(executor)
    del plain, threads


def a_map_yields_results(executor: Executor) -> None:
    assert_type(executor.map(area, [1], [2]), Iterator[str])
    assert_type(list(executor.map(str, range(3), timeout=1.0, chunksize=2, buffersize=4)), list[str])


async def it_works_in_asyncio(executor: Executor, loop: asyncio.AbstractEventLoop) -> None:
    assert_type(await asyncio.wrap_future(executor.submit(area, 1)), str)
    assert_type(await loop.run_in_executor(executor, area, 1), str)


def what_goes_beyond(executor: Executor, hooks: loomy.Hooks[object, object]) -> None:
    Executor(4, "name", print, ("hello",), hooks=hooks, max_pending=10, on_full="raise", copy_context=False)
    assert_type(executor.stats(), PoolStats)
    assert_type(executor.max_workers, int)
    executor.set_max_workers(3, wait=False)
    with executor as same:
        assert_type(same, Executor)
