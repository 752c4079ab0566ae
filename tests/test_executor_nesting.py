"""What a job of an `Executor` runs while it waits: what it waits for, and never anything else."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Executor as StandardExecutor
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from helpers import WAIT, Gate

from loomy import Executor

KINDS = pytest.mark.parametrize("kind", [ThreadPoolExecutor, Executor])


def test_the_job_it_waits_for_to_any_depth_on_one_worker() -> None:
    with Executor(1) as executor:

        def sum_to(n: int) -> int:
            return n + executor.submit(sum_to, n - 1).result() if n else 0

        assert executor.submit(sum_to, 100).result(WAIT) == 5050


@KINDS
@pytest.mark.parametrize("count", [600, 3000])
def test_jobs_that_wait_for_one_that_runs_do_not_run_inside_each_other(
    kind: type[StandardExecutor], count: int
) -> None:
    with kind(2) as executor, Gate() as gate:  # type: ignore[call-arg]
        awaited = executor.submit(gate.block, 7)
        gate.wait_entered()
        waiting = [executor.submit(lambda: awaited.result()) for _ in range(count)]
        time.sleep(0.05)  # for the other worker to begin what it may
        gate.open()
        assert [future.result(WAIT) for future in waiting] == [7] * count


@KINDS
def test_a_job_that_waits_with_a_lock_is_not_given_one_that_wants_it(kind: Any) -> None:
    lock = threading.Lock()
    with kind(2) as executor, Gate() as gate:

        def waits() -> int:
            with lock:
                awaited = executor.submit(gate.block, 1)
                gate.wait_entered()
                others.append(executor.submit(wants))
                threading.Timer(0.05, gate.open).start()
                result: int = awaited.result()
                return result

        def wants() -> int:
            with lock:
                return 2

        others: list[Any] = []
        assert executor.submit(waits).result(WAIT) == 1
        assert others[0].result(WAIT) == 2


@KINDS
def test_a_job_that_waits_for_a_result_of_a_map_is_not_given_the_next_ones(kind: Any) -> None:
    lock = threading.Lock()
    began = threading.Event()
    with kind(2) as executor:

        def item(i: int) -> int:
            if i == 0:
                began.set()
                time.sleep(0.05)
                return i
            with lock:
                return i

        def waits() -> list[int]:
            with lock:
                results = executor.map(item, range(4))
                began.wait(WAIT)
                first = next(results)
            return [first, *results]

        assert executor.submit(waits).result(WAIT) == [0, 1, 2, 3]


@KINDS
def test_no_job_sees_what_another_that_waits_has_in_its_thread(kind: Any) -> None:
    local = threading.local()
    with kind(2) as executor, Gate() as gate:

        def waits() -> bool:
            local.transaction = "open"
            awaited = executor.submit(gate.block, 1)
            gate.wait_entered()
            others.append(executor.submit(lambda: hasattr(local, "transaction")))
            threading.Timer(0.05, gate.open).start()
            awaited.result()
            del local.transaction
            return True

        others: list[Any] = []
        assert executor.submit(waits).result(WAIT)
        assert others[0].result(WAIT) is False


@KINDS
@pytest.mark.parametrize("how", ["result", "map"])
def test_a_timeout_is_kept_though_the_job_could_be_run_here(kind: Any, how: str) -> None:
    ran: list[int] = []
    with kind(1) as executor:

        def waits() -> float:
            begun = time.monotonic()
            future = None
            try:
                if how == "map":
                    list(executor.map(ran.append, [1, 2], timeout=0.05))
                else:
                    future = executor.submit(ran.append, 1)
                    future.result(timeout=0.05)
            except TimeoutError:
                return time.monotonic() - begun
            finally:
                if future is not None:
                    future.cancel()
            return 0

        assert 0.05 <= executor.submit(waits).result(WAIT) < 5
    assert ran == []
