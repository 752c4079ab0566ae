"""A pool and an executor beside their model, pool_model.py: how they are made, checked and ended.

What is done to them meanwhile are the rules of test_state_machine.py.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from helpers import WAIT, identity_holds, wait_until
from hypothesis.stateful import RuleBasedStateMachine
from pool_model import (
    CANCELLED,
    REFUSED,
    Books,
    Counting,
    Expected,
    ExpectedBatch,
    Item,
    Node,
    Outcome,
    Payload,
    Stateful,
    job,
    outcome_of,
    outcomes_of,
)

import loomy
from loomy import Executor, Pool

T = TypeVar("T")

_numbers = itertools.count()


class Machine(RuleBasedStateMachine):
    """Jobs that are held wait for one gate. Meanwhile nothing that would wait for a worker is called."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: Pool[Payload, int] | None = None
        self.make(2, False, "any", None)

    def make(self, size: int, hooked: bool, kind: str, bound: int | None) -> None:
        self.hooks = Counting() if hooked else None
        self.hooks_from_the_start = hooked
        self.name = f"machine{next(_numbers)}"
        options: dict[str, Any] = {
            "name": self.name,
            "hooks": self.hooks,
            "max_pending": bound,
            "on_full": "raise",
        }
        if kind == "stateful":
            self.pool = Pool.from_workers(Stateful, size, **options)
        else:
            affinity: Any = kind
            self.pool = Pool(job, size, affinity=affinity, **options)
        self.executor = Executor(2, self.name)
        self.size = size
        self.bound = bound
        self.places = 0  # in the queue that may be taken
        self.gate = threading.Event()
        self.held = 0
        self.nodes: list[Node] = []
        self.expected: list[Expected] = []
        self.batches: list[ExpectedBatch] = []
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

    def node(self, number: int) -> Node | None:
        return self.nodes[number] if number < len(self.nodes) else None

    def room_for(self, call: Callable[[], T]) -> T | None:
        """What the call returns; None if the queue was full, which it may be only if enough was put in."""
        try:
            made = call()
        except loomy.PoolFull:
            made = None
        if made is None:
            assert self.bound is not None
            assert self.places >= self.bound
            self.books.rejected += 1
        self.places += made is not None
        return made

    # What must hold.

    def check_contexts(self) -> None:
        assert [node.context.cancelled for node in self.nodes] == [node.cancelled for node in self.nodes]

    def check_batch(
        self, done: loomy.BatchResult[int], items: list[Item], also: frozenset[Outcome] = frozenset()
    ) -> None:
        seen = outcomes_of(done)
        assert len(seen) == len(items)
        for outcome, item in zip(seen, items, strict=True):
            assert outcome in item.allowed | also, (outcome, item)
        self.books.count(*seen)

    def check_all(self, refused: bool) -> None:
        self.check_outcomes(frozenset({REFUSED} if refused else ()))
        self.held = self.places = 0
        self.nodes.clear()
        self.expected.clear()
        self.batches.clear()
        self.futures.clear()
        self.check_statistics()
        self.check_leaks()

    def check_outcomes(self, also: frozenset[Outcome]) -> None:
        for one in self.expected:
            if one.result is None:
                continue
            outcome = outcome_of(one.result)
            assert outcome in one.item.allowed | also, (outcome, one)
            self.books.count(outcome)
        for batch in self.batches:
            if batch.result is not None:
                self.check_batch(batch.result.wait(WAIT), batch.items, also)
        for one in self.futures:
            assert outcome_of(one.result) in one.item.allowed

    def check_statistics(self) -> None:
        """As soon as workers are through with what was given up or dropped, which nobody waits for."""
        pool, executor, hooks = self.open_pool, self.executor, self.hooks
        wait_until(lambda: pool.queue_length == pool.running == 0, "the end of what was given up")
        with contextlib.suppress(AssertionError):
            wait_until(lambda: is_at_rest(stats := pool.stats()) and self.books.agree_with(stats))
        stats = pool.stats()
        assert is_at_rest(stats), stats
        assert self.books.agree_with(stats), (self.books, stats)
        if hooks is not None and self.hooks_from_the_start:
            wait_until(lambda: hooks.ends == stats.submitted, "the hook of each end")
        wait_until(lambda: is_at_rest(executor.stats()), "the rest of the executor")
        assert executor.stats().submitted == self.executor_jobs

    def check_leaks(self) -> None:
        def nothing_is_held() -> bool:
            if all(payload() is None for payload in self.payloads):
                return True
            gc.collect()
            return False

        wait_until(nothing_is_held, "the end of all payloads")
        self.payloads.clear()

    def end_of_pool(self, drain: bool = False, again: bool = False, cancel_futures: bool = False) -> None:
        if self.pool is None:
            return
        if cancel_futures:
            self.executor.shutdown(wait=False, cancel_futures=True)
            for one in self.futures:
                one.item.allowed.add(CANCELLED)
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


def is_at_rest(stats: loomy.PoolStats) -> bool:
    return stats.queued == stats.running == 0 and identity_holds(stats)


def refuses(closed: Pool[Payload, int]) -> None:
    payload: Any = []
    for call in (closed.process, closed.process_async, closed.process_batch):
        with pytest.raises(loomy.PoolNotRunning):
            call(payload)


def has_no_thread(name: str) -> bool:
    return not any(thread.name.startswith(name) for thread in threading.enumerate())
