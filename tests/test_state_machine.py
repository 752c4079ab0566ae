"""Random operations on a pool and an executor, against a model that knows what each job must come to."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import Counter
from typing import TypeVar

import pytest
from helpers import LONG, WAIT, examples_for
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pool_machine import Machine
from pool_model import (
    CANCELLED,
    Counting,
    Expected,
    ExpectedBatch,
    Item,
    Node,
    Outcome,
    job,
    outcome_of_error,
)

import loomy
from loomy import Context

EXAMPLES, STEPS = examples_for(12, long=1000), 100 if LONG else 30

T = TypeVar("T")

values = st.integers(-3, 10)
several = st.lists(values, max_size=12)
timeouts = st.sampled_from([0, 1e-6, 1e-4, 1e-3, 1e6])
any_number = st.integers(0, 59)  # of one in a list that is not empty
context_or_none = st.integers(0, 7)  # the number of a context; there may be none of it

kinds = st.sampled_from(["any", "worker", "stateful"])
bounds = st.sampled_from([None, None, 0, 1, 3, 8])


class PoolMachine(Machine):
    """What is drawn, and whether a rule applies, must not depend on how fast jobs are. So the lists also have
    what found no room.
    """

    # Pools.

    @initialize(size=st.integers(1, 4), hooked=st.booleans(), kind=kinds, bound=bounds)
    def begin(self, size: int, hooked: bool, kind: str, bound: int | None) -> None:
        self.end_of_pool()
        self.make(size, hooked, kind, bound)

    # Contexts.

    @precondition(lambda self: self.is_open() and len(self.nodes) < 8)
    @rule(above=context_or_none, kind=st.sampled_from(["cancel", "value", "timeout"]))
    def new_context(self, above: int, kind: str) -> None:
        parent = self.node(above)
        context = Context() if parent is None else parent.context
        if kind == "timeout":
            context = context.with_timeout(1e6)
        elif kind == "value":
            context = context.with_value("key", above)
        elif parent is not None:
            context = context.with_cancel()
        self.nodes.append(Node(context, parent))
        self.check_contexts()

    @precondition(lambda self: bool(self.nodes))
    @rule(number=any_number)
    def cancel_context(self, number: int) -> None:
        """What is below it ends, and what has ended before stays as it is."""
        top = self.nodes[number % len(self.nodes)]
        assert top.context.cancel() != top.cancelled
        for node in self.nodes:
            node.cancelled = node.cancelled or node.is_below(top)
        items = [one.item for one in self.expected] + [item for one in self.batches for item in one.items]
        for item in items:
            if item.node is not None and item.node.is_below(top):
                item.given_up()
        self.check_contexts()

    # Jobs.

    @precondition(Machine.may_wait)
    @rule(value=values, number=context_or_none)
    def process(self, value: int, number: int) -> None:
        payload, node = self.payload(value), self.node(number)
        ctx = node.context if node is not None else None

        def call() -> Outcome:
            try:
                return "value", self.open_pool.process(payload, ctx=ctx)
            except loomy.PoolFull:
                raise
            except Exception as error:
                return outcome_of_error(error)

        outcome = self.room_for(call)
        if outcome is not None:
            assert outcome in Item.of(payload, node).allowed
            self.books.count(outcome)

    @precondition(Machine.is_open)
    @rule(value=values, held=st.booleans(), number=context_or_none, tries=st.booleans())
    def process_async(self, value: int, held: bool, number: int, tries: bool) -> None:
        payload, node = self.payload(value, held), self.node(number)
        submit = self.open_pool.try_process_async if tries else self.open_pool.process_async
        ctx = node.context if node is not None else None
        result = self.room_for(lambda: submit(payload, ctx=ctx))
        self.held += held
        self.expected.append(Expected(result, Item.of(payload, node)))

    @precondition(Machine.is_open)
    @rule(value=values, timeout=timeouts)
    def process_with_a_deadline(self, value: int, timeout: float) -> None:
        payload = self.payload(value)
        result = self.room_for(lambda: self.open_pool.process_async(payload, timeout=timeout))
        self.expected.append(Expected(result, Item.of(payload, timeout=timeout)))

    @precondition(Machine.may_wait)
    @rule(batch=several, number=context_or_none, timeout=st.none() | timeouts)
    def process_batch(self, batch: list[int], number: int, timeout: float | None) -> None:
        payloads, node = [self.payload(value) for value in batch], self.node(number)
        ctx = node.context if node is not None else None
        done = self.room_for(lambda: self.open_pool.process_batch(payloads, ctx=ctx, timeout=timeout))
        if done is not None:
            self.check_batch(done, [Item.of(payload, node, timeout) for payload in payloads])

    @precondition(Machine.is_open)
    @rule(batch=several, held=st.booleans(), number=context_or_none, timeout=st.none() | timeouts)
    def batch_async(self, batch: list[int], held: bool, number: int, timeout: float | None) -> None:
        payloads, node = [self.payload(value, held) for value in batch], self.node(number)
        ctx = node.context if node is not None else None
        result = self.room_for(lambda: self.open_pool.process_batch_async(payloads, ctx=ctx, timeout=timeout))
        self.held += held and bool(batch)
        items = [Item.of(payload, node, timeout) for payload in payloads]
        self.batches.append(ExpectedBatch(result, items))

    @precondition(Machine.may_wait)
    @rule(items=st.lists(st.integers(0, 10), max_size=12), ordered=st.booleans(), buffer=st.integers(1, 4))
    def map(self, items: list[int], ordered: bool, buffer: int) -> None:
        seen: list[int] = []
        try:
            seen.extend(self.open_pool.map(map(self.payload, items), ordered=ordered, buffer=buffer))
            assert len(seen) == len(items)
        except loomy.PoolFull:
            self.map_was_full(len(items) - len(seen))
        assert seen == items[: len(seen)] if ordered else not Counter(seen) - Counter(items)
        self.map_took(len(items))
        self.books.count(*(("value", value) for value in seen))

    @precondition(Machine.may_wait)
    @rule(take=st.integers(0, 5), buffer=st.integers(1, 4))
    def map_that_is_closed(self, take: int, buffer: int) -> None:
        endless = (self.payload(value) for value in itertools.count())
        seen: list[int] = []
        try:
            with self.open_pool.map(endless, buffer=buffer) as results:
                seen.extend(itertools.islice(results, take))
                assert len(seen) == take
        except loomy.PoolFull:
            self.map_was_full(take)
        assert seen == list(range(len(seen)))
        self.map_took(take + buffer + 1)
        self.books.count(*(("value", value) for value in seen))
        self.books.perhaps += buffer + 1

    def map_took(self, places: int) -> None:
        self.places += places
        if self.bound is not None:
            self.books.rejected_by_maps = True

    def map_was_full(self, left: int) -> None:
        """What it pulled ahead may have been submitted."""
        assert self.bound is not None
        self.books.perhaps += left

    @precondition(lambda self: bool(self.expected))
    @rule(number=any_number)
    def cancel(self, number: int) -> None:
        one = self.expected[number % len(self.expected)]
        if one.result is not None and one.result.cancel():
            one.item.allowed = {CANCELLED}

    @precondition(lambda self: bool(self.expected))
    @rule(number=any_number)
    def drop(self, number: int) -> None:
        one = self.expected[number % len(self.expected)]
        if one.item.own[0] != "error":  # whose exception would be logged
            self.expected.remove(one)
            self.books.unknown += one.result is not None

    # The executor.

    @precondition(Machine.is_open)
    @rule(value=st.integers(0, 10), held=st.booleans())
    def submit(self, value: int, held: bool) -> None:
        if held and self.held:  # at most one of its workers is held
            held = False
        payload = self.payload(value, held)
        self.held += held
        self.executor_jobs += 1
        self.futures.append(Expected(self.executor.submit(job, payload), Item.of(payload)))

    @precondition(lambda self: bool(self.futures))
    @rule(number=any_number)
    def cancel_future(self, number: int) -> None:
        one = self.futures[number % len(self.futures)]
        if one.result.cancel():
            one.item.allowed = {CANCELLED}

    @precondition(Machine.may_wait)
    @rule(items=st.lists(st.integers(0, 10), max_size=8), buffer=st.none() | st.integers(1, 3))
    def executor_map(self, items: list[int], buffer: int | None) -> None:
        self.executor_jobs += len(items)
        assert list(self.executor.map(job, map(self.payload, items), buffersize=buffer)) == items

    @precondition(Machine.is_open)
    @rule(size=st.integers(1, 3), wait=st.booleans())
    def resize_executor(self, size: int, wait: bool) -> None:
        self.executor.set_max_workers(size, wait=wait and not self.held, timeout=WAIT)
        assert self.executor.max_workers == size

    # The pool.

    @precondition(Machine.is_open)
    @rule(size=st.integers(0, 6), wait=st.booleans())
    def resize(self, size: int, wait: bool) -> None:
        self.size = size
        if wait and self.held:  # for a worker that may be held
            with contextlib.suppress(loomy.JobTimedOut):
                self.open_pool.set_size(size, timeout=1e-3)
        else:
            self.open_pool.set_size(size, wait=wait, timeout=WAIT)
            assert not wait or self.open_pool.stats().workers == size
        assert self.open_pool.size == size

    @precondition(Machine.is_open)
    @rule(hooked=st.booleans())
    def swap_hooks(self, hooked: bool) -> None:
        self.open_pool.set_hooks(Counting() if hooked else None)
        self.hooks_from_the_start = False

    @precondition(Machine.is_open)
    @rule()
    def come_to_rest(self) -> None:
        """All that was asked for ends as it must, the statistics say so, and nothing is held any more."""
        self.gate.set()
        if self.size == 0:
            self.resize(1, wait=False)
        self.check_all(refused=False)
        self.gate = threading.Event()

    # The end of a pool.

    @precondition(Machine.is_open)
    @rule(drain=st.booleans(), again=st.booleans(), cancel_futures=st.booleans())
    def close(self, drain: bool, again: bool, cancel_futures: bool) -> None:
        self.end_of_pool(drain, again, cancel_futures)

    @precondition(lambda self: self.pool is None)
    @rule(size=st.integers(1, 4), hooked=st.booleans(), kind=kinds, bound=bounds)
    def new_pool(self, size: int, hooked: bool, kind: str, bound: int | None) -> None:
        self.make(size, hooked, kind, bound)

    def teardown(self) -> None:
        self.end_of_pool()


@pytest.mark.timeout(1800 if LONG else 180, method="thread")
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
