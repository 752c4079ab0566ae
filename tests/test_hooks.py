"""Hooks: what fires, how often, in what order, and what a hook may do."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from helpers import (
    WAIT,
    Background,
    Gate,
    double,
    fail_on_negative,
    identity,
    in_threads,
    thread_of_job,
    wait_until,
)

import loomy
from loomy import Context, Hooks, Pool, Worker

Event = tuple[Any, ...]


class Recording(Hooks[int, Any]):
    """Writes down every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.durations: list[float] = []

    def on_job_start(self, payload: int) -> None:
        self.events.append(("start", payload))

    def on_job_complete(self, payload: int, result: Any, duration: float) -> None:
        self.events.append(("complete", payload, result))
        self.durations.append(duration)

    def on_job_error(self, payload: int, error: BaseException, duration: float) -> None:
        self.events.append(("error", payload, type(error)))
        self.durations.append(duration)

    def on_worker_start(self, worker_id: int) -> None:
        self.events.append(("worker start", worker_id))

    def on_worker_stop(self, worker_id: int) -> None:
        self.events.append(("worker stop", worker_id))

    def of_jobs(self) -> list[Event]:
        return [event for event in self.events if "worker" not in event[0]]

    def of(self, what: str) -> list[Any]:
        return [event[1] for event in self.events if event[0] == what]


AFFINITIES: pytest.MarkDecorator = pytest.mark.parametrize("affinity", ["any", "worker"])


@AFFINITIES
def test_job_that_returns_starts_and_completes(affinity: Any) -> None:
    hooks = Recording()
    with Pool(double, size=1, hooks=hooks, affinity=affinity) as pool:
        pool.process(4)
    assert hooks.of_jobs() == [("start", 4), ("complete", 4, 8)]


@AFFINITIES
def test_job_that_raises_starts_and_has_an_error(affinity: Any) -> None:
    hooks = Recording()
    with (
        Pool(fail_on_negative, size=1, hooks=hooks, affinity=affinity) as pool,
        pytest.raises(ValueError, match="negative"),
    ):
        pool.process(-4)
    assert hooks.of_jobs() == [("start", -4), ("error", -4, ValueError)]


def test_error_hook_gets_the_very_exception_the_caller_sees() -> None:
    seen: list[BaseException] = []

    class Errors(Hooks[int, int]):
        def on_job_error(self, payload: int, error: BaseException, duration: float) -> None:
            seen.append(error)

    with (
        Pool(fail_on_negative, size=1, hooks=Errors()) as pool,
        pytest.raises(ValueError, match="negative") as caught,
    ):
        pool.process(-1)
    assert seen == [caught.value]


def test_panic_is_an_error_event_with_the_worker_panic() -> None:
    def job(_: int) -> int:
        raise SystemExit

    hooks = Recording()
    with Pool(job, size=1, hooks=hooks) as pool, pytest.raises(loomy.WorkerPanic):
        pool.process(1)
    assert hooks.of_jobs() == [("start", 1), ("error", 1, loomy.WorkerPanic)]


def test_durations_are_seconds_as_floats() -> None:
    hooks = Recording()
    with Gate() as gate, Pool(gate.block, size=1, hooks=hooks) as pool:
        pool.process_async(1)
        gate.wait_entered()
        gate.open()
    assert len(hooks.durations) == 1
    assert isinstance(hooks.durations[0], float)
    assert 0 <= hooks.durations[0] < WAIT


def test_every_payload_of_a_batch_has_its_events() -> None:
    hooks = Recording()
    with Pool(fail_on_negative, size=2, hooks=hooks) as pool:
        pool.process_batch([1, -2, 3])
    assert sorted(hooks.of("start")) == [-2, 1, 3]
    assert sorted(hooks.of("complete")) == [1, 3]
    assert hooks.of("error") == [-2]


@pytest.mark.parametrize("ordered", [True, False])
def test_every_payload_of_a_map_has_its_events(ordered: bool) -> None:
    hooks = Recording()
    with Pool(double, size=2, hooks=hooks) as pool:
        list(pool.map(range(50), ordered=ordered))
    assert sorted(hooks.of("start")) == sorted(hooks.of("complete")) == list(range(50))


def test_timed_out_running_job_is_an_error_and_never_complete() -> None:
    hooks = Recording()
    with Gate() as gate, Pool(gate.block, size=1, hooks=hooks) as pool:
        with pytest.raises(loomy.JobTimedOut):
            pool.process(1, timeout=0.3)
        gate.open()
    assert hooks.of_jobs() == [("start", 1), ("error", 1, loomy.JobTimedOut)]


def test_timed_out_queued_job_is_an_error_without_a_start() -> None:
    hooks = Recording()
    with Gate() as gate, Pool(gate.block, size=1, hooks=hooks) as pool:
        pool.process_async(1)
        gate.wait_entered()
        with pytest.raises(loomy.JobTimedOut):
            pool.process(2, timeout=0.02)
        gate.open()
    assert [event for event in hooks.of_jobs() if event[1] == 2] == [("error", 2, loomy.JobTimedOut)]


def test_deadline_of_a_context_is_an_error_event_of_that_class() -> None:
    hooks = Recording()
    with Gate() as gate, Pool(gate.block, size=1, hooks=hooks) as pool:
        pool.process_async(1)
        gate.wait_entered()
        with pytest.raises(loomy.DeadlineExceeded):
            pool.process(2, ctx=Context(timeout=0.02))
        gate.open()
    assert ("error", 2, loomy.DeadlineExceeded) in hooks.events


def test_cancelled_queued_job_is_an_error_without_a_start() -> None:
    hooks = Recording()
    with Gate() as gate, Pool(gate.block, size=1, hooks=hooks) as pool:
        pool.process_async(1)
        gate.wait_entered()
        pool.process_async(2).cancel()
        gate.open()
    assert [event for event in hooks.of_jobs() if event[1] == 2] == [("error", 2, loomy.JobCancelled)]


def test_cancelled_running_job_is_an_error_and_never_complete() -> None:
    hooks = Recording()
    with Gate() as gate, Pool(gate.block, size=1, hooks=hooks) as pool:
        result = pool.process_async(1)
        gate.wait_entered()
        result.cancel()
        gate.open()
    assert hooks.of_jobs() == [("start", 1), ("error", 1, loomy.JobCancelled)]


def test_cancelled_job_that_is_over_before_the_hooks_hear_of_it_has_its_error_told() -> None:
    hooks = Recording()
    ready = threading.Event()
    with Gate() as gate:

        def job(ctx: Context, payload: int) -> int:
            ctx.on_cancel(lambda: gate.block(0))  # whoever cancels the job waits here, before the hooks
            ready.set()
            ctx.wait(WAIT)
            return payload

        with Pool(job, size=1, pass_context=True, hooks=hooks) as pool:
            result = pool.process_async(1)
            assert ready.wait(WAIT)
            canceller = Background(result.cancel)
            gate.wait_entered()
            wait_until(lambda: pool.stats().idle == 1)
            gate.open()
            assert canceller.result()
    assert hooks.of_jobs() == [("start", 1), ("error", 1, loomy.JobCancelled)]


def test_job_failed_by_close_is_an_error_without_a_start() -> None:
    hooks = Recording()
    pool = Pool(identity, size=0, hooks=hooks)
    pool.process_async(1)
    pool.close()
    assert hooks.of_jobs() == [("error", 1, loomy.PoolNotRunning)]


def test_job_failed_by_its_factory_is_an_error_without_a_start() -> None:
    class Never(Worker[int, int]):
        def __init__(self) -> None:
            raise ValueError("no worker")

        def process(self, ctx: Context, payload: int) -> int:
            return payload

    hooks = Recording()
    with Pool.from_workers(Never, size=1, hooks=hooks) as pool, pytest.raises(loomy.WorkerClosed):
        pool.process(1)
    assert hooks.of_jobs() == [("error", 1, loomy.WorkerClosed)]


def test_batch_at_its_deadline_has_one_end_for_each_item() -> None:
    hooks = Recording()
    with Gate() as gate:

        def job(payload: int) -> int:
            return gate.block(payload) if payload == 1 else payload

        with Pool(job, size=1, hooks=hooks) as pool:
            pool.process_batch(range(4), timeout=0.5)
            gate.open()
    assert hooks.of("start") == [0, 1]
    assert hooks.of("complete") == [0]
    assert sorted(hooks.of("error")) == [1, 2, 3]


def test_every_job_has_exactly_one_end_that_says_what_the_caller_saw() -> None:
    hooks = Recording()
    saw: Counter[tuple[str, int]] = Counter()
    lock = threading.Lock()
    with Pool(fail_on_negative, size=2, hooks=hooks) as pool:

        def caller(index: int) -> None:
            for i in range(1, 400):
                number = (index * 1000 + i) * (-1 if i % 3 == 0 else 1)
                result = pool.process_async(number)
                if i % 4 == 0:
                    result.cancel()
                try:
                    result.wait(WAIT)
                    end = "complete"
                except (ValueError, loomy.JobCancelled):
                    end = "error"
                with lock:
                    saw[end, number] += 1

        in_threads(4, caller)
    told = Counter((event[0], event[1]) for event in hooks.of_jobs() if event[0] != "start")
    assert told == saw


def test_workers_start_from_the_constructor_and_stop_once_each() -> None:
    hooks = Recording()
    pool = Pool(identity, size=3, hooks=hooks)
    assert sorted(hooks.of("worker start")) == [0, 1, 2]
    pool.close()
    assert sorted(hooks.of("worker stop")) == [0, 1, 2]
    pool.close()
    assert sorted(hooks.of("worker stop")) == [0, 1, 2]


def test_worker_hooks_follow_the_size() -> None:
    hooks = Recording()
    with Pool(identity, size=1, hooks=hooks) as pool:
        pool.size = 3
        assert sorted(hooks.of("worker start")) == [0, 1, 2]
        pool.size = 1
        assert len(hooks.of("worker stop")) == 2
        pool.size = 2
        assert len(hooks.of("worker start")) == 4
    assert Counter(hooks.of("worker start")) == Counter(hooks.of("worker stop"))


def test_worker_hooks_of_workers_that_ran_jobs_fire_once_each() -> None:
    hooks = Recording()
    with Pool(identity, size=4, hooks=hooks, affinity="worker") as pool:
        pool.process_batch(range(1000))
    assert sorted(hooks.of("worker start")) == sorted(hooks.of("worker stop")) == [0, 1, 2, 3]


def test_stateful_workers_have_the_same_worker_hooks() -> None:
    class Echo(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            return payload

    hooks = Recording()
    with Pool.from_workers(Echo, size=2, hooks=hooks) as pool:
        pool.process(1)
    assert sorted(hooks.of("worker start")) == sorted(hooks.of("worker stop")) == [0, 1]


def test_only_overridden_methods_are_called() -> None:
    class OnlyStart(Hooks[int, int]):
        def __init__(self) -> None:
            self.started = 0

        def on_job_start(self, payload: int) -> None:
            self.started += 1

    hooks = OnlyStart()
    with Pool(double, size=1, hooks=hooks) as pool:
        for i in range(10):
            assert pool.process(i) == 2 * i
    assert hooks.started == 10


def test_hooks_without_any_method_change_nothing() -> None:
    class Nothing(Hooks[int, int]):
        pass

    with Pool(double, size=1, hooks=Nothing()) as pool:
        assert pool.process(4) == 8


def test_inherited_hook_methods_are_called() -> None:
    class Child(Recording):
        pass

    hooks = Child()
    with Pool(double, size=1, hooks=hooks) as pool:
        pool.process(4)
    assert hooks.of("complete") == [4]


@pytest.mark.parametrize("hooks", [7, "text", object(), Recording], ids=["int", "str", "object", "class"])
def test_what_is_no_hooks_object_is_a_type_error(hooks: Any) -> None:
    with pytest.raises(TypeError):
        Pool(double, size=1, hooks=hooks)
    with Pool(double, size=1) as pool, pytest.raises(TypeError):
        pool.set_hooks(hooks)


def test_set_hooks_applies_to_existing_workers() -> None:
    hooks = Recording()
    with Pool(double, size=1, affinity="worker") as pool:
        pool.process(1)
        pool.set_hooks(hooks)
        pool.process(2)
        pool.set_hooks(None)
        pool.process(3)
    assert hooks.of_jobs() == [("start", 2), ("complete", 2, 4)]


def test_set_hooks_replaces_the_hooks_of_the_constructor() -> None:
    first, second = Recording(), Recording()
    with Pool(double, size=1, hooks=first) as pool:
        pool.set_hooks(second)
        pool.process(4)
    assert first.of_jobs() == []
    assert second.of("complete") == [4]
    assert second.of("worker stop") == [0]


def test_set_hooks_from_a_hook() -> None:
    later = Recording()

    class Replacing(Hooks[int, int]):
        def on_job_start(self, payload: int) -> None:
            pool.set_hooks(later)

    with Pool(double, size=1, hooks=Replacing()) as pool:
        pool.process(1)
        pool.process(2)
    assert later.of("start") == [2]
    assert 2 in later.of("complete")


def test_set_hooks_from_many_threads_while_jobs_run() -> None:
    with Pool(double, size=2) as pool:

        def caller(index: int) -> None:
            for i in range(200):
                if index < 2:
                    pool.set_hooks(Recording() if i % 2 else None)
                else:
                    assert pool.process_async(i).wait(WAIT) == 2 * i

        in_threads(4, caller)


@pytest.mark.parametrize("name", ["on_job_start", "on_job_complete"])
def test_hook_may_submit_to_the_same_pool(name: str) -> None:
    nested: list[int] = []

    class Submitting(Hooks[int, int]):
        pass

    def submit(_: object, payload: int, *__: object) -> None:
        if payload > 0:
            nested.append(pool.process(-payload))

    setattr(Submitting, name, submit)
    with Pool(identity, size=1, hooks=Submitting(), affinity="worker") as pool:
        assert pool.process_async(3).wait(WAIT) == 3
        wait_until(lambda: nested == [-3])


def test_hooks_run_on_the_thread_of_the_job() -> None:
    threads: list[int] = []

    class Where(Hooks[int, int]):
        def on_job_start(self, payload: int) -> None:
            threads.append(threading.get_ident())

    with Pool(thread_of_job, size=1, hooks=Where(), affinity="worker") as pool:
        thread = pool.process(1)
    assert threads == [thread]


def test_hooks_see_the_worker_id_of_the_slot() -> None:
    ids: list[int | None] = []

    class Where(Hooks[int, int]):
        def on_job_start(self, payload: int) -> None:
            ids.append(loomy.current_worker_id())

    with Pool(identity, size=1, hooks=Where()) as pool:
        pool.process(1)
        pool.process_async(2).wait(WAIT)
    assert ids == [0, 0]


def test_blocking_hook_does_not_stop_other_workers() -> None:
    with Gate() as gate:

        class Blocking(Hooks[int, int]):
            def on_job_start(self, payload: int) -> None:
                if payload == 0:
                    gate.block(0)

        with Pool(identity, size=2, hooks=Blocking()) as pool:
            first = pool.process_async(0)
            gate.wait_entered()
            assert pool.process_async(1).wait(WAIT) == 1
            gate.open()
            assert first.wait(WAIT) == 0


def test_slow_worker_start_hook_runs_before_any_job_of_that_pool() -> None:
    order: list[str] = []

    class Ordered(Hooks[int, int]):
        def on_worker_start(self, worker_id: int) -> None:
            order.append("worker")

        def on_job_start(self, payload: int) -> None:
            order.append("job")

    with Pool(identity, size=1, hooks=Ordered(), affinity="worker") as pool:
        pool.process(1)
    assert order == ["worker", "job"]


def test_hook_may_wait_for_a_job_of_another_pool() -> None:
    answers: list[int] = []
    with Pool(double, size=1, affinity="worker") as other:

        class Asking(Hooks[int, int]):
            def on_job_start(self, payload: int) -> None:
                answers.append(other.process(payload))

        with Pool(identity, size=1, hooks=Asking(), affinity="worker") as pool:
            assert pool.process(4) == 4
    assert answers == [8]


def test_error_hook_of_a_timed_out_job_may_block_without_wedging_the_worker() -> None:
    with Gate() as job_gate, Gate() as hook_gate:

        class Blocking(Hooks[int, int]):
            def on_job_error(self, payload: int, error: BaseException, duration: float) -> None:
                hook_gate.block(0)

        with Pool(job_gate.block, size=1, hooks=Blocking()) as pool:
            caller = Background(lambda: pool.process(1, timeout=0.3))
            hook_gate.wait_entered()
            hook_gate.open()
            with pytest.raises(loomy.JobTimedOut):
                caller.result()
            job_gate.open()
            assert pool.process_async(2).wait(WAIT) == 2


def test_typed_hooks_need_no_cast() -> None:
    make: Callable[[], Hooks[int, int]] = Recording
    with Pool(identity, size=1, hooks=make()) as pool:
        assert pool.process(1) == 1
