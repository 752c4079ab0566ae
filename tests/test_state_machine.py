"""Random operations on a pool and an executor, against a model that knows what each job must come to."""

from __future__ import annotations

import functools
import gc
import itertools
import threading
import weakref
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any

import pytest
from helpers import LONG, WAIT, identity_holds, wait_until
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

import loomy
from loomy import Executor, Hooks, Pool

EXAMPLES, STEPS = (400, 100) if LONG else (10, 30)

_numbers = itertools.count()


class Payload:
    """What a job is given. Weakly referable, so that a test can tell whether it is still held."""

    def __init__(self, value: int, gate: threading.Event | None = None) -> None:
        self.value = value
        self.gate = gate

    def outcome(self) -> Outcome:
        return ("error" if self.value < 0 else "value", self.value)


Outcome = tuple[str, int | None]
ENDS = ("completed", "failed", "cancelled", "timed_out")


class Failed(Exception):
    pass


def job(payload: Payload) -> int:
    if payload.gate is not None and not payload.gate.wait(2 * WAIT):
        raise AssertionError("the model never opened the gate")
    if payload.value < 0:
        raise Failed(payload.value)
    return payload.value


class Counting(Hooks[Payload, int]):
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.ends = 0

    def on_job_complete(self, payload: Payload, result: int, duration: float) -> None:
        with self._lock:
            self.ends += 1

    def on_job_error(self, payload: Payload, error: BaseException, duration: float) -> None:
        with self._lock:
            self.ends += 1


@dataclass
class Expected:
    """A result that has not been taken, and all that it may come to."""

    result: Any
    allowed: set[Outcome]


@dataclass
class Books:
    """What the statistics must say once nothing is queued or running."""

    known: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENDS, 0))
    unknown: int = 0  # were submitted and ended in a way nobody saw
    perhaps: int = 0  # may have been submitted

    def count(self, *outcomes: Outcome) -> None:
        for kind, _ in outcomes:
            self.known[ENDED_AS[kind]] += 1


ENDED_AS = {
    "value": "completed",
    "error": "failed",
    "cancelled": "cancelled",
    "timed out": "timed_out",
    "refused": "failed",
}


def outcome_of(result: Any) -> Outcome:
    try:
        return "value", result.result(WAIT)
    except Failed as error:
        return "error", error.args[0]
    except loomy.JobTimedOut:
        return "timed out", None
    except (loomy.JobCancelled, CancelledError):
        return "cancelled", None
    except loomy.PoolNotRunning:
        return "refused", None


values = st.integers(-3, 10)
several = st.lists(values, max_size=12)


class PoolMachine(RuleBasedStateMachine):
    """Jobs that are held wait for one gate. Meanwhile nothing that would wait for a worker is called."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: Pool[Payload, int] | None = None
        self.make(2, None, False)

    # Pools.

    @initialize(size=st.integers(1, 4), hooked=st.booleans(), affinity=st.sampled_from(["any", "worker"]))
    def begin(self, size: int, hooked: bool, affinity: Any) -> None:
        self.end_of_pool()
        self.make(size, affinity, hooked)

    def make(self, size: int, affinity: Any, hooked: bool) -> None:
        self.hooks = Counting() if hooked else None
        self.hooks_from_the_start = hooked
        self.name = f"machine{next(_numbers)}"
        self.pool = Pool(job, size=size, name=self.name, hooks=self.hooks, affinity=affinity or "any")
        self.executor = Executor(2, self.name)
        self.size = size
        self.gate = threading.Event()
        self.held = 0
        self.expected: list[Expected] = []
        self.batches: list[tuple[Any, list[Outcome]]] = []
        self.futures: list[Expected] = []
        self.payloads: list[weakref.ref[Payload]] = []
        self.books = Books()
        self.executor_jobs = 0

    def payload(self, value: int, held: bool = False) -> Payload:
        made = Payload(value, self.gate if held else None)
        self.payloads.append(weakref.ref(made))
        return made

    @property
    def open_pool(self) -> Pool[Payload, int]:
        assert self.pool is not None
        return self.pool

    def may_wait(self) -> bool:
        return self.pool is not None and not self.held and self.size > 0

    def is_open(self) -> bool:
        return self.pool is not None

    # Jobs.

    @precondition(may_wait)
    @rule(value=values)
    def process(self, value: int) -> None:
        payload = self.payload(value)
        try:
            outcome: Outcome = "value", self.open_pool.process(payload)
        except Failed as error:
            outcome = "error", error.args[0]
        assert outcome == payload.outcome()
        self.books.count(outcome)

    @precondition(is_open)
    @rule(value=values, held=st.booleans())
    def process_async(self, value: int, held: bool) -> None:
        payload = self.payload(value, held)
        self.held += held
        self.expected.append(Expected(self.open_pool.process_async(payload), {payload.outcome()}))

    @precondition(is_open)
    @rule(value=values, timeout=st.sampled_from([0, 1e-6, 1e-4, 1e-3, 1e6]))
    def process_with_a_deadline(self, value: int, timeout: float) -> None:
        payload = self.payload(value)
        allowed = {payload.outcome()} if timeout == 1e6 else {payload.outcome(), ("timed out", None)}
        if timeout == 0:
            allowed = {("timed out", None)}
        self.expected.append(Expected(self.open_pool.process_async(payload, timeout=timeout), allowed))

    @precondition(may_wait)
    @rule(batch=several)
    def process_batch(self, batch: list[int]) -> None:
        payloads = [self.payload(value) for value in batch]
        self.check_batch(self.open_pool.process_batch(payloads), [payload.outcome() for payload in payloads])

    @precondition(is_open)
    @rule(batch=several, held=st.booleans())
    def batch_async(self, batch: list[int], held: bool) -> None:
        payloads = [self.payload(value, held) for value in batch]
        self.held += held and bool(batch)
        outcomes = [payload.outcome() for payload in payloads]
        self.batches.append((self.open_pool.process_batch_async(payloads), outcomes))

    def check_batch(self, done: loomy.BatchResult[int], outcomes: list[Outcome]) -> None:
        results, errors = done
        seen: list[Outcome] = [
            ("value", result) if error is None else ("error", error.args[0])
            for result, error in zip(results, errors, strict=True)
        ]
        assert seen == outcomes
        self.books.count(*seen)

    @precondition(may_wait)
    @rule(items=st.lists(st.integers(0, 10), max_size=12), ordered=st.booleans(), buffer=st.integers(1, 4))
    def map(self, items: list[int], ordered: bool, buffer: int) -> None:
        payloads = map(self.payload, items)
        seen = list(self.open_pool.map(payloads, ordered=ordered, buffer=buffer))
        assert (seen if ordered else sorted(seen)) == (items if ordered else sorted(items))
        self.books.count(*(("value", value) for value in seen))

    @precondition(may_wait)
    @rule(take=st.integers(0, 5), buffer=st.integers(1, 4))
    def map_that_is_closed(self, take: int, buffer: int) -> None:
        endless = (self.payload(value) for value in itertools.count())
        with self.open_pool.map(endless, buffer=buffer) as results:
            assert list(itertools.islice(results, take)) == list(range(take))
        self.books.count(*(("value", value) for value in range(take)))
        self.books.perhaps += buffer + 1

    @precondition(lambda self: bool(self.expected))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.expected))
        if one.result.cancel():
            one.allowed = {("cancelled", None)}
        else:
            one.allowed = {outcome for outcome in one.allowed if outcome[0] != "cancelled"} or one.allowed

    @precondition(lambda self: bool(self.expected))
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.expected))
        if all(kind != "error" for kind, _ in one.allowed):  # whose exception would be logged
            self.expected.remove(one)
            self.books.unknown += 1

    @precondition(is_open)
    @rule(value=st.integers(0, 10), held=st.booleans())
    def submit(self, value: int, held: bool) -> None:
        if held and self.held:  # at most one of its workers is held
            held = False
        payload = self.payload(value, held)
        self.held += held
        self.executor_jobs += 1
        self.futures.append(Expected(self.executor.submit(job, payload), {payload.outcome()}))

    @precondition(lambda self: bool(self.futures))
    @rule(data=st.data())
    def cancel_future(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.futures))
        if one.result.cancel():
            one.allowed = {("cancelled", None)}

    # The pool.

    @precondition(is_open)
    @rule(size=st.integers(0, 6))
    def resize(self, size: int) -> None:
        self.open_pool.set_size(size, wait=False)
        self.size = size

    @precondition(is_open)
    @rule(hooked=st.booleans())
    def swap_hooks(self, hooked: bool) -> None:
        self.open_pool.set_hooks(Counting() if hooked else None)
        self.hooks_from_the_start = False

    @precondition(is_open)
    @rule()
    def come_to_rest(self) -> None:
        """All that was asked for ends as it must, the statistics say so, and nothing is held any more."""
        self.gate.set()
        if self.size == 0:
            self.resize(1)
        self.check_all(refused=False)
        self.gate = threading.Event()

    def check_all(self, refused: bool) -> None:
        self.check_outcomes(refused)
        self.held = 0
        self.expected.clear()
        self.batches.clear()
        self.futures.clear()
        self.check_statistics()
        self.check_leaks()

    def check_outcomes(self, refused: bool) -> None:
        for one in self.expected:
            outcome = outcome_of(one.result)
            assert outcome in one.allowed or (refused and outcome[0] == "refused"), (outcome, one.allowed)
            self.books.count(outcome)
        for result, outcomes in self.batches:
            try:
                done = result.wait(WAIT)
            except loomy.PoolNotRunning:
                assert refused
                self.books.unknown += len(outcomes)
                continue
            if refused and any(isinstance(error, loomy.PoolNotRunning) for error in done.errors):
                self.books.unknown += len(outcomes)
            else:
                self.check_batch(done, outcomes)
        for one in self.futures:
            assert outcome_of(one.result) in one.allowed

    def check_statistics(self) -> None:
        wait_until(lambda: self.open_pool.stats().running == 0, "the end of what is running")
        stats = self.open_pool.stats()
        assert identity_holds(stats)
        assert (stats.queued, self.open_pool.queue_length, self.open_pool.running) == (0, 0, 0)
        known, total = self.books.known, sum(self.books.known.values()) + self.books.unknown
        assert total <= stats.submitted <= total + self.books.perhaps
        spare = self.books.unknown + self.books.perhaps
        for name in ENDS:
            assert known[name] <= getattr(stats, name) <= known[name] + spare, name
        if self.hooks is not None and self.hooks_from_the_start:
            hooks = self.hooks
            wait_until(lambda: hooks.ends == stats.submitted, "the hook of each end")
        executor = self.executor.stats()
        wait_until(lambda: self.executor.stats().running == 0)
        assert identity_holds(self.executor.stats())
        assert executor.submitted == self.executor_jobs

    def check_leaks(self) -> None:
        def nothing_is_held() -> bool:
            if all(payload() is None for payload in self.payloads):
                return True
            gc.collect()
            return False

        wait_until(nothing_is_held, "the end of all payloads")
        self.payloads.clear()

    # The end of a pool.

    @precondition(is_open)
    @rule(drain=st.booleans(), again=st.booleans())
    def close(self, drain: bool, again: bool) -> None:
        self.end_of_pool(drain, again)

    def end_of_pool(self, drain: bool = False, again: bool = False) -> None:
        if self.pool is None:
            return
        self.gate.set()
        for _ in range(1 + again):
            if drain:
                self.pool.shutdown(WAIT)
            else:
                self.pool.close()
        refuses(self.pool)
        self.check_all(refused=not drain or self.size == 0)
        self.executor.shutdown()
        gone = weakref.ref(self.pool), weakref.ref(self.executor)
        del self.executor
        self.pool = None
        wait_until(lambda: gc.collect() >= 0 and all(pool() is None for pool in gone), "the end of the pool")
        wait_until(functools.partial(has_no_thread, self.name), "the end of the threads")

    @precondition(lambda self: self.pool is None)
    @rule(size=st.integers(1, 4), hooked=st.booleans(), affinity=st.sampled_from(["any", "worker"]))
    def new_pool(self, size: int, hooked: bool, affinity: Any) -> None:
        self.make(size, affinity, hooked)

    def teardown(self) -> None:
        self.end_of_pool()


def refuses(closed: Pool[Payload, int]) -> None:
    payload: Any = []
    for call in (closed.process, closed.process_async, closed.process_batch):
        with pytest.raises(loomy.PoolNotRunning):
            call(payload)


def has_no_thread(name: str) -> bool:
    return not any(thread.name.startswith(name) for thread in threading.enumerate())


@pytest.mark.timeout(900 if LONG else 60, method="thread")
def test_random_operations_come_to_what_the_model_says() -> None:
    """Reliability 8 and 10, and what the rest of the page says of results, statistics and leaks together."""
    run_state_machine_as_test(
        PoolMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            phases=list(Phase) if LONG else [Phase.generate],  # what waits in vain takes too long to shrink
            derandomize=not LONG,  # a failure of the suite can be had again
            suppress_health_check=list(HealthCheck),
        ),
    )
