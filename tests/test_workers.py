"""Workers with state: made, used and ended on their own threads, told when a job is given up."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from helpers import LONG, WAIT, Background, Gate, unraisable_errors, wait_until

import loomy
from loomy import Context, Pool, Worker


class Echo(Worker[int, int]):
    def process(self, ctx: Context, payload: int) -> int:
        return payload


class Recorder(Worker[str, str]):
    """Writes down what happens to it, and on which thread."""

    def __init__(self, log: list[tuple[str, int]]) -> None:
        self.log = log
        self.note("made")

    def note(self, what: str) -> None:
        self.log.append((what, threading.get_ident()))

    def process(self, ctx: Context, payload: str) -> str:
        self.note(payload)
        return payload

    def block_until_ready(self) -> None:
        self.note("ready")

    def terminate(self) -> None:
        self.note("ended")


def test_worker_is_made_used_and_ended_on_one_thread_of_its_own() -> None:
    log: list[tuple[str, int]] = []
    with Pool.from_workers(lambda: Recorder(log), size=1) as pool:
        pool.process("job")
    assert [what for what, _ in log] == ["made", "ready", "job", "ended"]
    assert len({thread for _, thread in log}) == 1
    assert threading.get_ident() not in {thread for _, thread in log}


def test_block_until_ready_is_called_before_each_job() -> None:
    log: list[tuple[str, int]] = []
    with Pool.from_workers(lambda: Recorder(log), size=1) as pool:
        pool.process_batch(["a", "b"])
        pool.process("c")
    assert [what for what, _ in log] == ["made", "ready", "a", "ready", "b", "ready", "c", "ended"]


def test_each_worker_has_its_own_object() -> None:
    together = threading.Barrier(3)

    class Me(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            together.wait(WAIT)
            return id(self)

    with Pool.from_workers(Me, size=3) as pool:
        results, _ = pool.process_batch(range(3))
        assert len(set(results)) == 3


def test_factory_is_called_once_for_each_worker() -> None:
    calls: list[int] = []

    def factory() -> Echo:
        calls.append(threading.get_ident())
        return Echo()

    with Pool.from_workers(factory, size=3) as pool:
        for i in range(200):
            pool.process(i)
        wait_until(lambda: len(calls) == 3)
    assert len(set(calls)) == 3


def test_state_is_kept_between_jobs() -> None:
    class Summing(Worker[int, int]):
        def __init__(self) -> None:
            self.total = 0

        def process(self, ctx: Context, payload: int) -> int:
            self.total += payload
            return self.total

    with Pool.from_workers(Summing, size=1) as pool:
        assert [pool.process(1) for _ in range(5)] == [1, 2, 3, 4, 5]


def test_thread_bound_resource_just_works() -> None:
    class Database(Worker[int, int]):
        def __init__(self) -> None:
            self.connection = sqlite3.connect(":memory:")
            self.connection.execute("create table seen (value integer)")

        def process(self, ctx: Context, payload: int) -> int:
            self.connection.execute("insert into seen values (?)", (payload,))
            (count,) = self.connection.execute("select count(*) from seen").fetchone()
            return int(count)

        def terminate(self) -> None:
            self.connection.close()

    with Pool.from_workers(Database, size=1) as pool:
        assert [pool.process(i) for i in range(10)] == list(range(1, 11))
        results, errors = pool.process_batch(range(10))
        assert errors == [None] * 10
        assert results == list(range(11, 21))


def test_worker_gets_the_context_of_the_job() -> None:
    class Deadlines(Worker[int, "float | None"]):
        def process(self, ctx: Context, payload: int) -> float | None:
            return ctx.remaining()

    with Pool.from_workers(Deadlines, size=1) as pool:
        assert pool.process(1) is None
        remaining = pool.process(1, timeout=1000)
        assert remaining is not None
        assert 0 < remaining <= 1000


def test_error_of_a_worker_reaches_the_caller_and_the_worker_goes_on() -> None:
    class Picky(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            if payload < 0:
                raise ValueError("picky")
            return id(self)

    with Pool.from_workers(Picky, size=1) as pool:
        before = pool.process(1)
        with pytest.raises(ValueError, match="picky"):
            pool.process(-1)
        assert pool.process(1) == before


def test_block_until_ready_that_raises_fails_its_job_and_the_worker_goes_on() -> None:
    class Unready(Worker[int, int]):
        attempts = 0

        def block_until_ready(self) -> None:
            self.attempts += 1
            if self.attempts == 1:
                raise ValueError("not ready")

        def process(self, ctx: Context, payload: int) -> int:
            return payload

    with Pool.from_workers(Unready, size=1) as pool:
        with pytest.raises(ValueError, match="not ready"):
            pool.process(1)
        assert pool.process(2) == 2


@pytest.mark.parametrize("panic", [SystemExit, KeyboardInterrupt])
def test_block_until_ready_that_panics_is_a_worker_panic(panic: type[BaseException]) -> None:
    class Unready(Worker[int, int]):
        attempts = 0

        def block_until_ready(self) -> None:
            self.attempts += 1
            if self.attempts == 1:
                raise panic

        def process(self, ctx: Context, payload: int) -> int:
            return payload

    with Pool.from_workers(Unready, size=1) as pool:
        with pytest.raises(loomy.WorkerPanic):
            pool.process(1)
        assert pool.process(2) == 2


def test_terminate_that_raises_is_reported_and_the_pool_closes() -> None:
    class Untidy(Echo):
        def terminate(self) -> None:
            raise ValueError("untidy")

    with unraisable_errors() as reported:
        with Pool.from_workers(Untidy, size=2) as pool:
            assert pool.process(1) == 1
        assert [str(error) for error in reported] == ["untidy"] * 2


def test_factory_that_raises_fails_the_waiting_jobs_with_worker_closed() -> None:
    error = ValueError("no database")

    def factory() -> Echo:
        raise error

    with Pool.from_workers(factory, size=1) as pool:
        with pytest.raises(loomy.WorkerClosed) as caught:
            pool.process(1)
        assert caught.value.__cause__ is error


def test_factory_is_tried_again_by_the_next_job() -> None:
    attempts: list[int] = []

    def factory() -> Echo:
        attempts.append(1)
        if len(attempts) <= 3:
            raise ValueError("not yet")
        return Echo()

    failed = 0
    end = time.monotonic() + WAIT
    with Pool.from_workers(factory, size=1) as pool:
        while True:
            try:
                assert pool.process(19) == 19
                break
            except loomy.WorkerClosed:
                failed += 1
            assert time.monotonic() < end
    # one failing attempt may fail several jobs, those that come while it is being reported
    assert failed > 0
    assert len(attempts) == 4


def test_factory_that_fails_never_makes_an_open_pool_look_closed() -> None:
    for _ in range(2000 if LONG else 100):
        attempts: list[int] = []

        def factory(attempts: list[int] = attempts) -> Echo:
            attempts.append(1)
            if len(attempts) <= 3:
                raise ValueError("not yet")
            return Echo()

        with Pool.from_workers(factory, size=1) as pool:
            for i in range(20):
                with suppress(loomy.WorkerClosed):
                    assert pool.process(i) == i


def test_factory_that_raises_every_second_time_loses_no_job() -> None:
    lock = threading.Lock()
    attempts = 0

    def factory() -> Echo:
        nonlocal attempts
        with lock:
            attempts += 1
            if attempts % 2:
                raise ValueError("every second time")
        return Echo()

    with Pool.from_workers(factory, size=2) as pool:
        ended = 0
        for i in range(50):
            with contextlib.suppress(loomy.WorkerClosed):
                assert pool.process(i, timeout=WAIT) == i
            ended += 1
    assert ended == 50


def test_job_is_done_by_the_worker_that_could_be_made() -> None:
    lock = threading.Lock()
    made = 0

    def factory() -> Echo:
        nonlocal made
        with lock:
            made += 1
            if made > 1:
                raise ValueError("only one")
        return Echo()

    with Pool.from_workers(factory, size=4) as pool:
        assert list(pool.map(range(50))) == list(range(50))


def test_factory_error_of_a_batch_is_the_error_of_its_items() -> None:
    def factory() -> Echo:
        raise ValueError("no worker")

    with Pool.from_workers(factory, size=1) as pool:
        _, errors = pool.process_batch(range(3))
    assert [type(error) for error in errors] == [loomy.WorkerClosed] * 3


@pytest.mark.parametrize("panic", [SystemExit, KeyboardInterrupt])
def test_factory_that_panics_is_a_factory_that_raises(panic: type[BaseException]) -> None:
    def factory() -> Echo:
        raise panic

    with Pool.from_workers(factory, size=1) as pool:
        with pytest.raises((loomy.WorkerClosed, loomy.WorkerPanic)) as caught:
            pool.process(1)
        assert isinstance(caught.value.__cause__, panic)


def test_factory_that_makes_no_worker_fails_the_job() -> None:
    factory: Any = object
    with Pool.from_workers(factory, size=1) as pool, pytest.raises(loomy.WorkerClosed):
        pool.process(1)


def test_slow_factory_holds_up_only_its_own_jobs() -> None:
    with Gate() as gate:

        def factory() -> Echo:
            gate.block(0)
            return Echo()

        with Pool.from_workers(factory, size=1) as pool:
            gate.wait_entered()
            with pytest.raises(loomy.JobTimedOut):
                pool.process(1, timeout=0.05)
            gate.open()
            assert pool.process(2) == 2


def test_close_while_the_factory_runs_waits_for_it_and_terminates_the_worker() -> None:
    ended: list[int] = []
    with Gate() as gate:

        class Ending(Echo):
            def terminate(self) -> None:
                ended.append(1)

        def factory() -> Ending:
            gate.block(0)
            return Ending()

        pool = Pool.from_workers(factory, size=1)
        gate.wait_entered()
        queued = pool.process_async(1)
        closer = Background(pool.close)
        with pytest.raises(loomy.PoolNotRunning):
            queued.wait(WAIT)
        gate.open()
        closer.result()
    assert ended == [1]


def test_every_worker_is_terminated_once() -> None:
    lock = threading.Lock()
    ended: dict[int, int] = {}

    class Ending(Echo):
        def terminate(self) -> None:
            with lock:
                ended[id(self)] = ended.get(id(self), 0) + 1

    kept: list[Ending] = []

    def factory() -> Ending:
        worker = Ending()
        kept.append(worker)
        return worker

    with Pool.from_workers(factory, size=4) as pool:
        wait_until(lambda: len(kept) == 4)
        pool.process_batch(range(100))
        pool.set_size(1)
    assert sorted(ended) == sorted(id(worker) for worker in kept)
    assert set(ended.values()) == {1}


def test_worker_may_be_re_entered_by_a_nested_job() -> None:
    class Nested(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            return pool.process(payload - 1) + 1 if payload else 0

    pool: Pool[int, int] = Pool.from_workers(Nested, size=1)
    with pool:
        assert pool.process(10) == 10


def test_worker_without_process_cannot_be_made() -> None:
    make: Any = Worker
    with pytest.raises(TypeError):
        make()
