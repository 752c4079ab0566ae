"""What checkers infer for `Pool.from_workers`. Never run: test_typing.py gives it to mypy and pyright."""

from __future__ import annotations

from typing import Generic, TypeVar, assert_type

from loomy import AsyncResult, BatchResult, Context, Hooks, MapIterator, Pool, Worker

T = TypeVar("T")


class Row:
    pass


class Connection(Worker[str, Row]):
    def __init__(self, host: str = "localhost") -> None:
        self.host = host

    def process(self, ctx: Context, payload: str) -> Row:
        raise NotImplementedError


class Cache(Worker[T, list[T]], Generic[T]):
    def process(self, ctx: Context, payload: T) -> list[T]:
        raise NotImplementedError


class CountAnything(Hooks[object, object]):
    pass


def connect() -> Connection:
    return Connection("example.org")


def cache_of_numbers() -> Cache[int]:
    return Cache()


def payload_and_result_come_from_the_worker_class(queries: list[str]) -> None:
    pool = Pool.from_workers(Connection, 4)
    assert_type(pool, Pool[str, Row])
    assert_type(pool.process(""), Row)
    assert_type(pool.process_async(""), AsyncResult[Row])
    assert_type(pool.try_process_async(""), AsyncResult[Row] | None)
    assert_type(pool.process_batch(queries), BatchResult[Row])
    assert_type(pool.process_batch_async(queries), AsyncResult[BatchResult[Row]])
    assert_type(pool.map(queries), MapIterator[Row])


def any_factory_will_do() -> None:
    assert_type(Pool.from_workers(connect), Pool[str, Row])
    assert_type(Pool.from_workers(lambda: Connection("example.org")), Pool[str, Row])
    assert_type(Pool.from_workers(cache_of_numbers), Pool[int, list[int]])
    assert_type(Pool.from_workers(connect, name="db", max_pending=0, hooks=CountAnything()), Pool[str, Row])


def a_worker_is_used_by_what_it_accepts_and_returns(worker: Worker[object, int]) -> None:
    narrower_payload: Worker[str, int] = worker
    wider_result: Worker[object, object] = worker
    print(narrower_payload, wider_result)
