"""Nothing of a job is kept once it has ended and its caller let go, whichever way it was submitted."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest
from helpers import WAIT, wait_until
from test_garbage import Watch, forget, give_back, without_collector

from loomy import Context, Executor, Pool, Worker

AnyPool = Pool[Any, Any]
Job = Callable[[Any], Any]


# Each submits one job and gives its result, or raises its error, and has neither in a variable meanwhile.
WAYS: dict[str, Callable[[AnyPool, Any], Any]] = {
    "process": lambda pool, payload: pool.process(payload),
    "process with a timeout": lambda pool, payload: pool.process(payload, timeout=WAIT),
    "process_async": lambda pool, payload: pool.process_async(payload).wait(WAIT),
    "map": lambda pool, payload: next(pool.map([payload])),
    "unordered map": lambda pool, payload: next(pool.map([payload], ordered=False)),
}
BATCHES: dict[str, Callable[[AnyPool, Any], Any]] = {
    "process_batch": lambda pool, payload: pool.process_batch([payload]),
    "process_batch with a timeout": lambda pool, payload: pool.process_batch([payload], timeout=WAIT),
    "process_batch_async": lambda pool, payload: pool.process_batch_async([payload]).wait(WAIT),
}
WAYS |= {
    name: lambda pool, payload, batch=batch: batch(pool, payload).raise_for_errors()  # type: ignore[misc]
    for name, batch in BATCHES.items()
}


EACH_WAY: pytest.MarkDecorator = pytest.mark.parametrize("way", WAYS)


def error_of(call: Callable[[], Any]) -> BaseException | None:
    try:
        call()
    except BaseException as error:
        return error
    return None


@EACH_WAY
def test_payload_and_result_die_when_the_caller_has_let_go_of_them(way: str) -> None:
    watch = Watch()
    with without_collector(), Pool(give_back, size=1) as pool:
        for _ in range(3):
            WAYS[way](pool, watch.new())
        wait_until(lambda: watch.alive() == 0)


@EACH_WAY
def test_error_keeps_the_frames_of_its_job_as_long_as_it_is_kept_itself(way: str) -> None:
    watch = Watch()

    def job(_: int) -> None:
        local = watch.new()
        raise ValueError("failed", id(local))

    with without_collector(), Pool(job, size=1) as pool:
        error = error_of(lambda: WAYS[way](pool, 1))
        assert error is not None
        assert watch.alive() == 1
        del error
        wait_until(lambda: watch.alive() == 0)


def test_error_that_was_awaited_keeps_the_frames_of_its_job_as_long_as_it_is_kept_itself() -> None:
    watch = Watch()

    def job(_: int) -> None:
        local = watch.new()
        raise ValueError("failed", id(local))

    async def main(pool: AnyPool) -> None:
        try:
            await pool.process_async(1)
        except ValueError:
            assert watch.alive() == 1
        while watch.alive():
            await asyncio.sleep(0.001)

    with without_collector(), Pool(job, size=1) as pool:
        asyncio.run(asyncio.wait_for(main(pool), WAIT))


class Calling(Worker[Any, Any]):
    def __init__(self, job: Job) -> None:
        self.job = job

    def process(self, ctx: Context, payload: Any) -> Any:
        return self.job(payload)


KINDS: dict[str, Callable[[Job], AnyPool]] = {
    "function on a worker": lambda job: Pool(job, size=1, affinity="worker"),
    "context": lambda job: Pool(lambda ctx, payload: job(payload), size=1, pass_context=True),
    "workers": lambda job: Pool.from_workers(lambda: Calling(job), size=1),
    "callbacks": lambda job: Pool.from_callbacks(size=1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_worker_of_whatever_kind_keeps_nothing_of_its_last_job(kind: str) -> None:
    watch = Watch()

    def job(payload: Any) -> Any:
        local = payload[0]
        if payload[1]:
            raise ValueError("failed", id(local))
        return local

    def payload(fails: bool) -> Any:
        given = watch.new(), fails
        return functools.partial(job, given) if kind == "callbacks" else given

    with without_collector(), KINDS[kind](job) as pool:
        for fails in (False, True):
            pool.process_async(payload(fails)).exception(WAIT)
            wait_until(lambda: watch.alive() == 0)
            error_of(lambda fails=fails: pool.process(payload(fails)))  # type: ignore[misc]
            wait_until(lambda: watch.alive() == 0)


@pytest.mark.parametrize("batch", BATCHES)
def test_errors_of_a_batch_keep_the_frames_of_their_jobs_as_long_as_the_batch_lives(batch: str) -> None:
    watch = Watch()

    def job(_: int) -> None:
        local = watch.new()
        raise ValueError("failed", id(local))

    with without_collector(), Pool(job, size=2) as pool:
        result = BATCHES[batch](pool, 1)
        assert watch.alive() == 1
        del result
        wait_until(lambda: watch.alive() == 0)


@pytest.mark.parametrize("batch", BATCHES)
def test_payloads_of_a_batch_die_while_its_results_live(batch: str) -> None:
    watch = Watch()
    with without_collector(), Pool(forget, size=2) as pool:
        result = BATCHES[batch](pool, watch.new())
        wait_until(lambda: watch.alive() == 0)
        assert result.ok


@pytest.mark.parametrize("ordered", [True, False])
def test_payloads_of_a_map_die_before_their_results_are_taken(ordered: bool) -> None:
    watch = Watch()
    with without_collector(), Pool(forget, size=2) as pool:
        results = pool.map((watch.new() for _ in range(8)), buffer=8, ordered=ordered)
        assert next(results) is None
        wait_until(lambda: watch.alive() == 0)
        assert list(results) == [None] * 7


def test_arguments_of_an_executors_map_die_before_their_results_are_taken() -> None:
    watch = Watch()
    with without_collector(), Executor(2) as executor:
        results = executor.map(forget, [watch.new() for _ in range(8)])
        wait_until(lambda: watch.alive() == 0)
        assert list(results) == [None] * 8


@pytest.mark.parametrize("look", ["result", "exception", "map"])
def test_error_of_an_executor_keeps_the_frames_of_its_job_as_long_as_it_is_kept_itself(look: str) -> None:
    watch = Watch()

    def job(_: int) -> None:
        local = watch.new()
        raise ValueError("failed", id(local))

    looks: dict[str, Callable[[Executor], Any]] = {
        "result": lambda executor: error_of(lambda: executor.submit(job, 1).result(WAIT)),
        "exception": lambda executor: executor.submit(job, 1).exception(WAIT),
        "map": lambda executor: error_of(lambda: next(executor.map(job, [1]))),
    }
    with without_collector(), Executor(1) as executor:
        error = looks[look](executor)
        assert isinstance(error, ValueError)
        assert watch.alive() == 1
        del error
        wait_until(lambda: watch.alive() == 0)
