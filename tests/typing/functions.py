"""What checkers infer for `Pool(fn)`. Never run: test_typing.py gives it to mypy and pyright."""

from __future__ import annotations

from typing import Any, assert_type

from loomy import AsyncResult, BatchResult, Context, Hooks, MapIterator, Pool, ufunc


class Row:
    pass


def parse(line: str) -> Row:
    raise NotImplementedError


def parse_until_cancelled(ctx: Context, line: str) -> Row:
    raise NotImplementedError


class CountAnything(Hooks[object, object]):
    pass


class CountRows(Hooks[str, Row]):
    pass


def payload_and_result_come_from_the_function(lines: list[str]) -> None:
    pool = Pool(parse)
    assert_type(pool, Pool[str, Row])
    assert_type(pool.process(""), Row)
    assert_type(pool.process("", timeout=1.5, ctx=Context()), Row)
    assert_type(pool.process_async(""), AsyncResult[Row])
    assert_type(pool.try_process_async(""), AsyncResult[Row] | None)
    assert_type(pool.process_batch(lines), BatchResult[Row])
    assert_type(pool.process_batch_async(lines), AsyncResult[BatchResult[Row]])
    assert_type(pool.map(lines), MapIterator[Row])
    assert_type(pool.map(iter(lines), ordered=False, buffer=4), MapIterator[Row])


def pass_context_takes_the_context_away(lines: list[str]) -> None:
    pool = Pool(parse_until_cancelled, 4, pass_context=True)
    assert_type(pool, Pool[str, Row])
    assert_type(pool.process(""), Row)
    assert_type(pool.process_async(""), AsyncResult[Row])
    assert_type(pool.process_batch(lines), BatchResult[Row])
    assert_type(pool.map(lines), MapIterator[Row])


def options_change_no_type() -> None:
    assert_type(Pool(parse, 4, name="rows", max_pending=10, on_full="raise", spin=0), Pool[str, Row])
    assert_type(Pool(parse, copy_context=False, affinity="worker", pass_context=False), Pool[str, Row])
    assert_type(Pool(parse, hooks=CountRows()), Pool[str, Row])
    assert_type(Pool(parse, hooks=CountAnything()), Pool[str, Row])
    assert_type(Pool(parse_until_cancelled, pass_context=True, hooks=CountAnything()), Pool[str, Row])


def builtins_and_methods_work_as_well(numbers: dict[str, int]) -> None:
    assert_type(Pool(numbers.__getitem__), Pool[str, int])
    assert_type(Pool(str.upper), Pool[str, str])
    assert_type(Pool(Context().value), Pool[object, Any])


def hooks_of_wider_types_are_accepted() -> None:
    pool = Pool(parse)
    pool.set_hooks(CountRows())
    pool.set_hooks(CountAnything())
    pool.set_hooks(None)


class RowPool(Pool[str, Row]):
    """A subclass keeps its types."""


def context_managers_give_the_pool_itself() -> None:
    with Pool(parse) as pool:
        assert_type(pool, Pool[str, Row])
    with RowPool(parse) as rows:
        assert_type(rows, RowPool)
        assert_type(rows.process(""), Row)


async def async_context_managers_too() -> None:
    async with Pool(parse) as pool:
        assert_type(pool, Pool[str, Row])


def a_ufunc_takes_what_numpys_takes(numpys: Any) -> None:
    assert_type(ufunc(numpys), ufunc)
    assert_type(ufunc(numpys, pool=Pool(parse)), ufunc)
    assert_type(ufunc(numpys)([1.0], out=None, where=True), Any)
    assert_type(ufunc(numpys).reduce, Any)
