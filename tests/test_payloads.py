"""Payloads by the hundred thousand, and iterables that change while they are worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import LONG, WAIT, Gate, identity, wait_until

from loomy import Executor, Pool

AFFINITIES: pytest.MarkDecorator = pytest.mark.parametrize("affinity", ["any", "worker"])
ORDERED: pytest.MarkDecorator = pytest.mark.parametrize("ordered", [True, False])


@AFFINITIES
def test_huge_batch(affinity: Any) -> None:
    count = 2_000_000 if LONG else 200_000
    with Pool(identity, size=2, affinity=affinity) as pool:
        results, errors = pool.process_batch(range(count))
        assert pool.stats().completed == count
    assert results == list(range(count))
    assert errors.count(None) == count


def test_huge_batch_that_is_queued_counts_each_payload() -> None:
    count = 2_000_000 if LONG else 200_000
    with Pool(identity, size=0) as pool:
        batch = pool.process_batch_async(iter(range(count)))
        assert pool.queue_length == count
        pool.size = 2
        assert sum(batch.wait(WAIT).raise_for_errors()) == count * (count - 1) // 2
        assert pool.stats().completed == count


def test_huge_batch_that_is_given_up_ends_each_payload() -> None:
    count = 2_000_000 if LONG else 200_000
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        batch = pool.process_batch_async(range(count))
        gate.wait_entered()
        assert batch.cancel()
        gate.open()
        wait_until(lambda: pool.running == 0)
        stats = pool.stats()
    assert (stats.submitted, stats.queued) == (count, 0)
    assert stats.cancelled >= count - 1


# A map pulls its payloads one after the other, at most `buffer` ahead, and sees what a loop would see.


@ORDERED
def test_list_that_its_jobs_lengthen_during_a_map_is_taken_to_its_end(ordered: bool) -> None:
    payloads = list(range(8))  # longer than the buffer, so that the map never meets the end before

    def job(payload: int) -> int:
        if payload + 8 < 1000:
            payloads.append(payload + 8)
        return payload

    with Pool(job, size=1) as pool:  # two would lengthen it in any order
        results = list(pool.map(payloads, buffer=4, ordered=ordered))
        assert pool.stats().submitted == 1000
    assert sorted(results) == list(range(1000))


@ORDERED
def test_list_that_is_cut_during_a_map_ends_the_map_there(ordered: bool) -> None:
    payloads = list(range(1000))
    with Pool(identity, size=2) as pool:
        results = pool.map(payloads, buffer=4, ordered=ordered)
        first = next(results)
        del payloads[10:]
        assert sorted([first, *results]) == list(range(10))
        assert pool.stats().submitted == 10


@ORDERED
def test_list_that_is_emptied_during_a_map_ends_with_what_was_pulled(ordered: bool) -> None:
    payloads = list(range(1000))
    with Pool(identity, size=2) as pool:
        results = pool.map(payloads, buffer=4, ordered=ordered)
        next(results)
        payloads.clear()
        assert len(list(results)) <= 4
        assert pool.queue_length == 0


@pytest.mark.parametrize("kind", ["dict", "set", "deque"])
@ORDERED
def test_what_may_not_change_during_iteration_raises_after_the_results_before_it(
    ordered: bool, kind: str
) -> None:
    made: dict[str, Any] = {
        "dict": dict.fromkeys(range(100)),
        "set": set(range(100)),
        "deque": deque(range(100)),
    }
    payloads = made[kind]
    with Pool(identity, size=2) as pool:
        results = pool.map(payloads, buffer=4, ordered=ordered)
        seen = [next(results)]
        payloads.popitem() if kind == "dict" else payloads.pop()
        with pytest.raises(RuntimeError, match=r"changed size|mutated"):
            seen.extend(results)
        assert 1 <= len(seen) == len(set(seen)) <= 5
        assert pool.process(7) == 7
        stats = pool.stats()
    assert stats.submitted == stats.completed == len(seen) + 1


def test_iterable_that_uses_the_pool_of_its_map_is_one_as_any_other() -> None:
    def payloads() -> Iterator[int]:
        for i in range(50):
            yield pool.process(i)

    with Pool(identity, size=1) as pool:
        assert list(pool.map(payloads(), buffer=3)) == list(range(50))


@pytest.mark.parametrize("call", ["close", "__next__"])
def test_iterable_cannot_use_the_map_it_is_pulled_for(call: str) -> None:
    def payloads() -> Iterator[int]:
        yield from range(5)
        getattr(results, call)()

    with Pool(identity, size=1) as pool:
        results = pool.map(payloads(), buffer=1)
        assert [next(results) for _ in range(5)] == list(range(5))
        with pytest.raises(ValueError, match="the map is being advanced"):
            next(results)
        assert pool.queue_length == 0


def test_list_that_changes_during_an_executors_map_is_taken_as_it_was() -> None:
    payloads = list(range(100))
    with Executor(2) as executor:
        results = executor.map(payloads.remove, payloads)
        assert list(results) == [None] * 100
    assert payloads == []
