"""What checkers infer for `Pool.from_callbacks`. Never run: test_typing.py gives it to mypy and pyright."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, assert_type

from loomy import AsyncResult, BatchResult, CallbackPool, MapIterator, Pool


def count() -> int:
    raise NotImplementedError


def spell(number: int) -> str:
    raise NotImplementedError


def each_callable_says_what_its_result_is(counts: list[Callable[[], int]]) -> None:
    pool = Pool.from_callbacks(4, name="tasks")
    assert_type(pool, CallbackPool)
    assert_type(pool.process(count), int)
    assert_type(pool.process(lambda: "text"), str)
    assert_type(pool.process(partial(spell, 7)), str)
    assert_type(pool.process_async(count), AsyncResult[int])
    assert_type(pool.process_async(partial(spell, 7), timeout=1), AsyncResult[str])
    assert_type(pool.try_process_async(count), AsyncResult[int] | None)
    assert_type(pool.process_batch(counts), BatchResult[int])
    assert_type(pool.process_batch(partial(spell, n) for n in range(3)), BatchResult[str])
    assert_type(pool.process_batch_async(counts), AsyncResult[BatchResult[int]])
    assert_type(pool.map(counts), MapIterator[int])
    assert_type(pool.map((partial(spell, n) for n in range(3)), ordered=False), MapIterator[str])


def it_is_a_pool_of_callables() -> None:
    pool: Pool[Callable[[], Any], Any] = Pool.from_callbacks()
    print(pool)


def with_gives_the_same_type() -> None:
    with Pool.from_callbacks() as pool:
        assert_type(pool.process(count), int)
