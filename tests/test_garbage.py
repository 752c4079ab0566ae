"""Garbage: nothing is kept longer than it must be, and whatever is dropped cleans up after itself."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from helpers import GIL, WAIT, Gate, double, identity, wait_until

import loomy
from loomy import AsyncResult, Context, Hooks, Pool, Worker

AFFINITIES: pytest.MarkDecorator = pytest.mark.parametrize("affinity", ["any", "worker"])


class Thing:
    """A payload or result that can be watched."""


class Watch:
    """Knows whether what it was given is still alive."""

    def __init__(self) -> None:
        self._refs: list[weakref.ref[Any]] = []

    def new(self) -> Thing:
        thing = Thing()
        self._refs.append(weakref.ref(thing))
        return thing

    def alive(self) -> int:
        return sum(ref() is not None for ref in self._refs)

    def all_die(self) -> None:
        """Passes when everything watched is gone, or goes with the next collection."""
        wait_until(lambda: gc.collect() >= 0 and self.alive() == 0, f"the end of {self.alive()} objects")


# Without a GIL, what another thread gives up is counted off by its owner: at once only if that one runs.


@contextmanager
def without_collector() -> Iterator[None]:
    """No cyclic collection inside: what dies here was in no cycle."""
    if not GIL:
        pytest.skip("free-threaded Python may need its collector to end what two threads have used")
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def forget(_: Thing) -> None:
    return None


def give_back(thing: Thing) -> Thing:
    return thing


@AFFINITIES
def test_payload_dies_when_its_job_has_ended(affinity: Any) -> None:
    watch = Watch()
    with Pool(forget, size=1, affinity=affinity) as pool:
        pool.process(watch.new())
        wait_until(lambda: watch.alive() == 0)


def test_payload_dies_while_its_result_lives() -> None:
    watch = Watch()
    with Pool(forget, size=1) as pool:
        result = pool.process_async(watch.new())
        result.wait(WAIT)
        wait_until(lambda: watch.alive() == 0)
        assert result.done()


@AFFINITIES
def test_result_dies_when_the_caller_drops_it(affinity: Any) -> None:
    watch = Watch()
    with Pool(give_back, size=1, affinity=affinity) as pool:
        pool.process(watch.new())
        wait_until(lambda: watch.alive() == 0)
        result = pool.process_async(watch.new())
        result.wait(WAIT)
        assert watch.alive() == 1
        del result
        wait_until(lambda: watch.alive() == 0)


@AFFINITIES
def test_payloads_and_results_of_a_batch_die_with_it(affinity: Any) -> None:
    watch = Watch()
    with Pool(give_back, size=2, affinity=affinity) as pool:
        batch = pool.process_batch([watch.new() for _ in range(50)])
        assert batch.ok
        assert watch.alive() == 50
        del batch
        wait_until(lambda: watch.alive() == 0)


def test_payload_of_a_failed_job_dies_with_the_error() -> None:
    def job(thing: Thing) -> None:
        raise ValueError("failed")

    watch = Watch()
    with Pool(job, size=1) as pool:

        def call() -> None:
            with pytest.raises(ValueError, match="failed"):
                pool.process_async(watch.new()).wait(WAIT)

        call()
        watch.all_die()


def test_payload_of_a_cancelled_job_dies() -> None:
    watch = Watch()
    with Pool(forget, size=0) as pool:
        result = pool.process_async(watch.new())
        result.cancel()
        # a worker has to come by at the latest
        pool.size = 1
        watch.all_die()
        assert result.cancelled()


def test_payload_of_a_timed_out_queued_job_dies() -> None:
    watch = Watch()
    with Pool(forget, size=0) as pool:

        def call() -> None:
            with pytest.raises(loomy.JobTimedOut):
                pool.process(watch.new(), timeout=0.01)

        call()
        pool.size = 1
        watch.all_die()


def test_payloads_that_close_refuses_die() -> None:
    watch = Watch()
    pool = Pool(forget, size=0)
    results = [pool.process_async(watch.new()) for _ in range(10)]
    batch = pool.process_batch_async([watch.new() for _ in range(10)])
    pool.close()
    del results, batch
    watch.all_die()


def test_payloads_that_a_full_queue_refuses_die() -> None:
    watch = Watch()
    with Pool(forget, size=0, max_pending=0, on_full="raise") as pool:

        def call() -> None:
            with pytest.raises(loomy.PoolFull):
                pool.process_async(watch.new())

        call()
        assert pool.try_process_async(watch.new()) is None
        watch.all_die()


def test_idle_worker_keeps_nothing_of_its_last_job() -> None:
    watch = Watch()
    with Pool(give_back, size=4, affinity="worker") as pool:
        for _ in range(20):
            pool.process(watch.new())
        pool.process_batch([watch.new() for _ in range(100)])
        wait_until(lambda: watch.alive() == 0)


def test_idle_worker_keeps_no_error_of_its_last_job() -> None:
    watch = Watch()

    def job(_: int) -> None:
        local = watch.new()
        raise ValueError("failed", local)

    with Pool(job, size=1) as pool, without_collector():

        def call() -> None:
            error = pool.process_async(1).exception(WAIT)
            assert error is not None

        call()
        wait_until(lambda: watch.alive() == 0)


@AFFINITIES
def test_error_is_in_no_cycle_with_frames_of_the_job(affinity: Any) -> None:
    watch = Watch()

    def job(_: int) -> None:
        local = watch.new()
        assert local is not None
        raise ValueError("failed")

    def call(pool: Pool[int, None]) -> None:
        with suppress(ValueError):
            pool.process(1)

    with Pool(job, size=1, affinity=affinity) as pool, without_collector():
        call(pool)
        wait_until(lambda: watch.alive() == 0)


def test_error_nobody_retrieved_dies_with_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    # what pytest captures of the report would keep the error
    monkeypatch.setattr(logging.getLogger("loomy"), "disabled", True)
    watch = Watch()

    def job(_: int) -> None:
        raise ValueError("failed", watch.new())

    with Pool(job, size=1) as pool:
        result = pool.process_async(1)
        wait_until(result.done)
        del result
        watch.all_die()


def test_contextvars_context_of_a_job_dies_with_it() -> None:
    import contextvars

    variable: contextvars.ContextVar[Thing | None] = contextvars.ContextVar("variable", default=None)
    watch = Watch()
    with Pool(identity, size=1, affinity="worker") as pool:
        token = variable.set(watch.new())
        pool.process(1)
        pool.process_async(2).wait(WAIT)
        variable.reset(token)
        del token
        wait_until(lambda: gc.collect() >= 0 and watch.alive() == 0)


def test_done_callbacks_die_when_they_were_called() -> None:
    watch = Watch()

    def callback_with(thing: Thing) -> Callable[[AsyncResult[int]], None]:
        def callback(_: AsyncResult[int]) -> None:
            assert thing is not None

        return callback

    with Pool(identity, size=1) as pool:
        result = pool.process_async(1)
        result.add_done_callback(callback_with(watch.new()))
        result.wait(WAIT)
        watch.all_die()
        assert result.done()


def test_dropped_result_does_not_stop_its_job() -> None:
    ran = threading.Event()
    with Gate() as gate:

        def job(payload: int) -> None:
            gate.block(payload)
            ran.set()

        with Pool(job, size=1) as pool:
            pool.process_async(1)
            gate.wait_entered()
            gc.collect()
            gate.open()
            assert ran.wait(WAIT)


def test_result_in_a_cycle_with_its_own_value_is_collected() -> None:
    class Node:
        result: AsyncResult[Node]

    def job(node: Node) -> Node:
        return node

    refs: list[weakref.ref[Node]] = []
    with Pool(job, size=1) as pool:

        def make_cycle() -> None:
            node = Node()
            refs.append(weakref.ref(node))
            node.result = pool.process_async(node)
            node.result.wait(WAIT)

        make_cycle()
        wait_until(lambda: gc.collect() >= 0 and refs[0]() is None)


def test_pending_result_in_a_cycle_with_its_callback_is_collected_after_the_end() -> None:
    refs: list[weakref.ref[Thing]] = []
    with Pool(identity, size=1) as pool:

        def make_cycle() -> None:
            thing: Any = Thing()
            refs.append(weakref.ref(thing))
            thing.result = pool.process_async(1)
            thing.result.add_done_callback(lambda _: thing)

        make_cycle()
        wait_until(lambda: gc.collect() >= 0 and refs[0]() is None)


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{name}-")]


def drop(pools: list[Pool[Any, Any]]) -> None:
    """Gives up the last references, wherever they are."""
    pools.clear()
    gc.collect()


def test_dropped_pool_warns_and_ends_its_threads() -> None:
    pools = [Pool(double, size=2, affinity="worker", name="dropped")]
    assert pools[0].process(4) == 8
    assert threads_named("dropped")
    with pytest.warns(ResourceWarning, match="dropped"):
        drop(pools)
    wait_until(lambda: threads_named("dropped") == [])


def test_closed_pool_is_dropped_in_silence() -> None:
    pool = Pool(double, size=2, affinity="worker")
    pool.process(4)
    ref = weakref.ref(pool)
    pool.close()
    del pool
    gc.collect()
    assert ref() is None


def test_dropped_pool_leaves_no_caller_waiting() -> None:
    with Gate() as gate:
        pools = [Pool(gate.block, size=1)]
        results = [pools[0].process_async(i) for i in range(10)]
        gate.wait_entered()

        def drop_while_busy() -> None:
            drop(pools)
            gate.open()
            wait_until(lambda: gc.collect() >= 0 and all(result.done() for result in results))

        with pytest.warns(ResourceWarning):
            drop_while_busy()
        for i, result in enumerate(results):
            with suppress(loomy.PoolNotRunning):
                assert result.wait(WAIT) == i


def test_pool_in_a_cycle_with_its_own_function_is_collected() -> None:
    class Service:
        def __init__(self) -> None:
            self.pool = Pool(self.work, size=1, affinity="worker", name="cyclic")

        def work(self, payload: int) -> int:
            return payload

    refs: list[weakref.ref[Service]] = []

    def use() -> None:
        service = Service()
        refs.append(weakref.ref(service))
        assert service.pool.process(7) == 7

    use()
    with pytest.warns(ResourceWarning):
        wait_until(lambda: gc.collect() >= 0 and refs[0]() is None)
    wait_until(lambda: threads_named("cyclic") == [])


def test_pool_in_a_cycle_with_its_hooks_is_collected() -> None:
    class Mine(Hooks[int, int]):
        pool: Pool[int, int]

        def on_job_start(self, payload: int) -> None:
            assert self.pool.size == 1

    refs: list[weakref.ref[Mine]] = []

    def use() -> None:
        hooks = Mine()
        refs.append(weakref.ref(hooks))
        hooks.pool = Pool(double, size=1)
        hooks.pool.set_hooks(hooks)
        assert hooks.pool.process_async(4).wait(WAIT) == 8
        hooks.pool.close()

    use()
    wait_until(lambda: gc.collect() >= 0 and refs[0]() is None)


def test_closed_pool_does_not_keep_its_function_alive() -> None:
    watch = Watch()
    thing = watch.new()

    def job(payload: int, thing: Thing = thing) -> int:
        return payload

    pool = Pool(job, size=1, affinity="worker")
    pool.process(1)
    pool.close()
    del pool, job, thing
    watch.all_die()


def test_pool_whose_last_reference_goes_inside_its_own_job() -> None:
    pools: list[Pool[int, int]] = []
    dropped = threading.Event()

    def job(payload: int) -> int:
        pools.clear()
        gc.collect()
        dropped.set()
        return payload

    def use() -> None:
        pools.append(Pool(job, size=1, name="suicidal"))
        result = pools[0].process_async(7)
        assert dropped.wait(WAIT)
        assert result.wait(WAIT) == 7

    def use_and_wait_for_the_end() -> None:
        use()
        wait_until(lambda: gc.collect() >= 0 and threads_named("suicidal") == [])

    with pytest.warns(ResourceWarning):
        use_and_wait_for_the_end()


def test_pool_whose_last_reference_goes_inside_a_job_its_caller_runs() -> None:
    pools: list[Pool[int, int]] = []

    def job(payload: int) -> int:
        pools.clear()
        return payload

    def use() -> None:
        pools.append(Pool(job, size=1))
        assert pools[0].process(7) == 7
        gc.collect()

    with pytest.warns(ResourceWarning):
        use()


def test_finaliser_may_submit_while_another_submission_is_under_way() -> None:
    answers: list[AsyncResult[int]] = []

    class Submits:
        def __init__(self) -> None:
            self.me = self  # only the collector finds it, in the middle of whatever allocates

        def __del__(self) -> None:
            answers.append(pool.process_async(-1))

    thresholds = gc.get_threshold()
    with Pool(identity, size=1) as pool:
        gc.set_threshold(10)
        try:
            for i in range(2000):
                Submits()
                assert pool.process_async([i][0]).wait(WAIT) == i
        finally:
            gc.set_threshold(*thresholds)
        gc.collect()
        wait_until(lambda: len(answers) == 2000)
        assert {answer.wait(WAIT) for answer in answers} == {-1}


def test_worker_object_dies_when_its_worker_left() -> None:
    refs: list[weakref.ref[Worker[int, int]]] = []

    class Echo(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            return payload

    def factory() -> Echo:
        worker = Echo()
        refs.append(weakref.ref(worker))
        return worker

    with Pool.from_workers(factory, size=2) as pool:
        pool.process_batch(range(20))
        wait_until(lambda: len(refs) == 2)
        pool.set_size(1)
        wait_until(lambda: gc.collect() >= 0 and sum(ref() is not None for ref in refs) == 1)
    wait_until(lambda: gc.collect() >= 0 and all(ref() is None for ref in refs))


def test_replaced_hooks_die() -> None:
    class Mine(Hooks[int, int]):
        def on_job_start(self, payload: int) -> None:
            pass

    hooks = Mine()
    ref = weakref.ref(hooks)
    with Pool(double, size=1, hooks=hooks, affinity="worker") as pool:
        pool.process(1)
        del hooks
        pool.set_hooks(None)
        pool.process(1)
        wait_until(lambda: gc.collect() >= 0 and ref() is None)


def test_context_given_to_a_job_dies_with_it() -> None:
    watch = Watch()
    with Pool(identity, size=1) as pool:
        ctx = Context().with_value("thing", watch.new())
        pool.process(1, ctx=ctx)
        pool.process(1, ctx=ctx, timeout=WAIT)
        del ctx
        watch.all_die()


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="counts references")
def test_ten_thousand_jobs_leave_no_reference_behind() -> None:
    payload = Thing()

    def settled(pool: Pool[Thing, Thing]) -> None:
        for _ in range(2000):
            pool.process(payload)
            pool.process_async(payload).wait(WAIT)
            pool.process(payload, timeout=WAIT)
        pool.process_batch([payload] * 2000)
        for _ in pool.map([payload] * 2000):
            pass

    with Pool(give_back, size=2) as pool:
        before = sys.getrefcount(payload)
        settled(pool)
        wait_until(lambda: gc.collect() >= 0 and sys.getrefcount(payload) <= before + 5)


def test_collection_storm_in_jobs() -> None:
    def job(payload: int) -> int:
        gc.collect()
        return payload

    with Pool(job, size=2) as pool:
        assert pool.process_batch(range(40)).raise_for_errors() == list(range(40))
