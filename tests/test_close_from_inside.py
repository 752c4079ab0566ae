"""`close` and `shutdown` from inside jobs, hooks, callbacks, finalisers: they return, and the pool ends."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from helpers import WAIT, Background, Gate, double, fail_on_negative, identity, wait_until

import loomy
from loomy import AsyncResult, Context, Hooks, Pool

ENDS: pytest.MarkDecorator = pytest.mark.parametrize("end", ["close", "shutdown"])


@ENDS
@pytest.mark.parametrize("affinity", ["any", "worker"])
def test_ending_from_inside_a_job_returns(end: str, affinity: Any) -> None:
    pools: list[Pool[int, int]] = []

    def job(payload: int) -> int:
        getattr(pools[0], end)()
        return payload

    pool: Pool[int, int] = Pool(job, size=1, affinity=affinity)
    pools.append(pool)
    assert pool.process(7) == 7
    with pytest.raises(loomy.PoolNotRunning):
        pool.process(8)
    pool.close()


@ENDS
def test_ending_from_inside_a_job_beside_other_jobs(end: str) -> None:
    with Gate() as gate:

        def job(payload: int) -> int:
            if payload == 1:
                getattr(pool, end)()
                return payload
            return gate.block(payload)

        pool: Pool[int, int] = Pool(job, size=2)
        other = pool.process_async(0)
        gate.wait_entered()
        ending = pool.process_async(1)
        wait_until(lambda: pool.closed)
        gate.open()
        assert ending.wait(WAIT) == 1
        assert other.wait(WAIT) == 0
        pool.close()


class EndingHooks(Hooks[int, int]):
    """Once armed, a hook called `which` ends the pool."""

    def __init__(self, which: str, end: str) -> None:
        self.pool: Pool[int, int] | None = None
        self.ended = threading.Event()
        setattr(self, which, functools.partial(self._end, end))

    def _end(self, end: str, *_: object) -> None:
        if self.pool is not None:
            getattr(self.pool, end)()
            self.ended.set()


TRIGGERS: dict[str, Callable[[Pool[int, int]], object]] = {
    "on_job_start": lambda pool: pool.process_async(1),
    "on_job_complete": lambda pool: pool.process_async(1),
    "on_job_error": lambda pool: pool.process_async(-1).exception(WAIT),
    "on_worker_start": lambda pool: pool.set_size(2, wait=False),
    "on_worker_stop": lambda pool: pool.set_size(0, wait=False),
}


@ENDS
@pytest.mark.parametrize("hook", TRIGGERS)
def test_ending_from_inside_a_hook_returns(end: str, hook: str) -> None:
    hooks = EndingHooks(hook, end)
    pool = Pool(fail_on_negative, size=1, hooks=hooks, affinity="worker")
    pool.process(1)  # there is a thread, which may be the one that leaves
    hooks.pool = pool
    with suppress(loomy.PoolNotRunning):
        TRIGGERS[hook](pool)
    assert hooks.ended.wait(WAIT)
    assert pool.closed
    pool.close()


@ENDS
@pytest.mark.parametrize("given_up", ["queued", "running"])
def test_ending_from_inside_the_error_hook_of_a_job_that_was_given_up_returns(
    end: str, given_up: str
) -> None:
    hooks = EndingHooks("on_job_error", end)
    with Gate() as gate:
        pool = Pool(gate.block, size=1, hooks=hooks)
        hooks.pool = pool
        running = pool.process_async(0)
        queued = pool.process_async(1)
        gate.wait_entered()
        canceller = Background((queued if given_up == "queued" else running).cancel)
        assert hooks.ended.wait(WAIT)
        assert pool.closed
        assert canceller.result()
        gate.open()
        pool.close()


@ENDS
def test_ending_from_inside_a_done_callback_returns(end: str) -> None:
    ended = threading.Event()

    def end_it(_: AsyncResult[int]) -> None:
        getattr(pool, end)()
        ended.set()

    with Gate() as gate:
        pool = Pool(gate.block, size=1)
        result = pool.process_async(1)
        gate.wait_entered()
        result.add_done_callback(end_it)
        gate.open()
        assert ended.wait(WAIT)
        pool.close()


@ENDS
def test_ending_from_a_signal_of_the_context_returns(end: str) -> None:
    ctx = Context()
    pool = Pool(identity, size=1)
    pool.process_async(1).wait(WAIT)
    ctx.on_cancel(lambda: getattr(pool, end)())
    ctx.cancel()
    assert pool.closed


@ENDS
@pytest.mark.parametrize("found_by", ["the last reference", "the collector"])
def test_ending_from_inside_a_finaliser_returns(end: str, found_by: str) -> None:
    closed: list[bool] = []

    class Owner:
        def __init__(self) -> None:
            self.pool = Pool(double, size=1, affinity="worker")
            self.me = self if found_by == "the collector" else None

        def __del__(self) -> None:
            getattr(self.pool, end)()
            closed.append(self.pool.closed)

    def use() -> list[AsyncResult[int]]:
        owner = Owner()
        return [owner.pool.process_async(i) for i in range(20)]

    results = use()
    gc.collect()
    wait_until(lambda: closed == [True])
    for i, result in enumerate(results):
        with suppress(loomy.PoolNotRunning) if end == "close" else nullcontext():
            assert result.wait(WAIT) == 2 * i


@ENDS
@pytest.mark.parametrize("last", ["payload", "result"])
def test_ending_from_the_finaliser_of_what_a_worker_lets_go_of_returns(end: str, last: str) -> None:
    ended = threading.Event()

    class Ends:
        def __del__(self) -> None:
            getattr(pool, end)()
            ended.set()

    def job(payload: Ends | None) -> Ends | None:
        gate.block(0)
        return Ends() if last == "result" else None

    with Gate() as gate:
        pool = Pool(job, size=1)
        pool.process_async(Ends() if last == "payload" else None)  # nobody else has the result
        queued = pool.process_async(None)
        gate.wait_entered()
        gate.open()
        wait_until(ended.is_set)  # without a GIL a payload may die on this thread, if that runs
        pool.close()
        with suppress(loomy.PoolNotRunning) if end == "close" else nullcontext():
            queued.wait(WAIT)
