"""What the futures of `loomy.Executor` cost, and what they keep alive: nothing longer than they must."""

from __future__ import annotations

import concurrent.futures
import gc
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from helpers import GIL, WAIT, identity, one_busy_worker, wait_until
from test_garbage import Thing, Watch, forget, give_back, without_collector

from loomy import Executor, Future, Pool, _futures


class Told:
    """Counts what comes into being for futures that somebody looks at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        told, original = self, _futures.Touched.__init__

        def counting(touched: _futures.Touched, state: str | None) -> None:
            told.made += 1
            original(touched, state)

        monkeypatch.setattr(_futures.Touched, "__init__", counting)


def test_a_future_that_nobody_touched_has_no_condition_and_no_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch)
    with one_busy_worker() as (executor, gate):
        futures = [executor.submit(identity, i) for i in range(100)]
        futures[-1].cancel()
        futures[-2].add_done_callback(lambda _: None)
        kinds = {type(each) for future in futures for each in gc.get_referents(future)}
        gate.open()
        assert [future.result(WAIT) for future in futures[:-1]] == list(range(99))
        assert all(future.done() for future in futures)
        repr(futures)
        assert told.made == 0
        assert not kinds & {_futures.Touched, threading.Condition, list, dict, type(threading.Lock())}
        assert all(future._condition for future in futures[:3])
        assert told.made == 3


def test_a_future_is_small() -> None:
    """A tenth of the standard library's, which has a condition, its lock, its deque and two lists."""

    def size(future: Any) -> int:
        seen: dict[int, int] = {}
        queue = [future, *vars(future).values()] if isinstance(future, concurrent.futures.Future) else []
        for each in queue:
            if id(each) in seen or each is None or isinstance(each, str | type):
                continue
            seen[id(each)] = each.__sizeof__()
            if isinstance(each, threading.Condition):
                queue.extend(vars(each).values())
        return sum(seen.values())

    with one_busy_worker() as (executor, _), ThreadPoolExecutor(1) as theirs:
        ours = executor.submit(identity, 1).__sizeof__()
        other: Any = theirs.submit(identity, 1)
        assert ours <= 160
        assert size(other) > 4 * ours


def test_arguments_die_as_soon_as_the_job_has_ended() -> None:
    def forget_named(*, thing: Thing) -> None:
        pass

    watch = Watch()
    with without_collector(), Executor(1) as executor:
        futures = [executor.submit(forget, watch.new()), executor.submit(forget_named, thing=watch.new())]
        for future in futures:
            future.result(WAIT)
        wait_until(lambda: watch.alive() == 0)
        assert all(future.done() for future in futures)


def test_the_function_dies_as_soon_as_the_job_has_ended() -> None:
    with without_collector(), Executor(1) as executor:
        thing = Thing()

        def job() -> bool:
            return thing is not None

        gone = weakref.ref(job)
        future = executor.submit(job)
        del job
        assert future.result(WAIT)
        wait_until(lambda: gone() is None)


def test_arguments_of_a_cancelled_job_die_with_it() -> None:
    watch = Watch()
    with without_collector(), one_busy_worker() as (executor, _):
        future = executor.submit(forget, watch.new())
        future.cancel()
        assert watch.alive() == 0


def test_the_result_dies_with_its_future() -> None:
    watch = Watch()
    with without_collector(), Executor(1) as executor:
        future = executor.submit(give_back, watch.new())
        future.result(WAIT)
        assert watch.alive() == 1
        del future
        wait_until(lambda: watch.alive() == 0)


def test_an_idle_worker_keeps_nothing_of_its_last_job() -> None:
    watch = Watch()
    with without_collector(), Executor(1) as executor:
        executor.submit(give_back, watch.new())
        wait_until(lambda: executor.stats().completed == 1)
        wait_until(lambda: watch.alive() == 0)


@contextmanager
def no_cycle() -> Iterator[None]:
    """Whatever dies inside was in no cycle: the collector finds nothing."""
    with without_collector():
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            yield
            gc.collect()
            assert [each for each in gc.garbage if isinstance(each, Future | BaseException)] == []
        finally:
            gc.set_debug(0)
            gc.garbage.clear()


def raise_anew(*_: object) -> None:
    raise ValueError


# None of these has the future in a variable when it raises: that would be a cycle of their own.


def look_with_result(futures: list[Any]) -> None:
    futures.pop().result(WAIT)


def look_with_wait(futures: list[Any]) -> None:
    wait(futures, WAIT)
    futures.pop().result()


def look_with_as_completed(futures: list[Any]) -> None:
    futures[:] = as_completed(list(futures), WAIT)
    futures.pop().result()


def look_late(futures: list[Any]) -> None:
    wait_until(lambda: bool(futures[0].done()))
    futures[0].exception()
    futures.pop().result()


@pytest.mark.parametrize("look", [look_with_result, look_with_wait, look_with_as_completed, look_late])
def test_a_future_and_its_exception_are_in_no_cycle(look: Callable[[list[Any]], None]) -> None:
    with no_cycle(), Executor(1) as executor:
        for _ in range(20):
            with suppress(ValueError):
                look([executor.submit(raise_anew, 1)])


def test_a_future_in_a_variable_of_the_job_that_waits_is_in_no_cycle_with_its_exception() -> None:
    with no_cycle(), Executor(1) as executor:

        def outer() -> str:
            try:
                raise KeyError("outer")
            except KeyError:
                future = executor.submit(raise_anew)
                return str(type(future.exception()))

        for _ in range(20):
            assert "ValueError" in executor.submit(outer).result(WAIT)


@pytest.mark.parametrize("buffersize", [None, 2])
def test_the_exceptions_of_map_are_in_no_cycle(buffersize: int | None) -> None:
    with no_cycle(), Executor(1) as executor:
        for _ in range(20):
            with suppress(ValueError):
                for _ in executor.map(raise_anew, range(5), buffersize=buffersize):
                    pass


def test_a_future_in_a_cycle_of_the_users_making_is_collected() -> None:
    class Holder:
        future: Any = None

    with Executor(1) as executor:
        holder = Holder()
        holder.future = executor.submit(lambda held: held, holder)
        holder.future.result(WAIT)
        gone = weakref.ref(holder)
        del holder
        wait_until(lambda: gc.collect() >= 0 and gone() is None)


def test_a_dropped_future_still_runs_its_job() -> None:
    ran: list[int] = []
    with Executor(1) as executor:
        for i in range(100):
            executor.submit(ran.append, i)
    assert ran == list(range(100))


class Owner:
    """Has a pool, and the results of a map of its own method."""

    def __init__(self, kind: type[Any]) -> None:
        self.pool = kind(1) if kind is Executor else kind(self.work, 1)
        self.results = self.pool.map(*([self.work] if kind is Executor else []), range(3))
        next(self.results)

    def work(self, payload: int) -> Any:
        # Without the GIL the collector sees of an AsyncResult only what somebody has asked for.
        return (payload, self) if GIL or isinstance(self.pool, Executor) else payload


def wait_for_all_of(owner: Owner) -> None:
    wait_until(lambda: owner.pool.stats().completed == 3)


@pytest.mark.parametrize("kind", [Executor, Pool])
@pytest.mark.filterwarnings("ignore:pool .* was collected without being closed:ResourceWarning")
def test_results_of_a_map_in_a_cycle_with_its_function_are_collected(kind: type[Any]) -> None:
    owner = Owner(kind)
    wait_for_all_of(owner)
    gone = weakref.ref(owner)
    workers = rf"{owner.pool.name}[-_]\d+"  # and not the thread for deadlines, which stays
    threads = [thread for thread in threading.enumerate() if re.fullmatch(workers, thread.name)]
    assert threads
    del owner
    wait_until(lambda: gc.collect() >= 0 and gone() is None)
    wait_until(lambda: not any(thread.is_alive() for thread in threads))


def test_results_of_a_map_that_lead_back_to_it_are_collected() -> None:
    class Holder:
        results: Any = None

    with Executor(1) as executor:
        holder = Holder()
        holder.results = executor.map(lambda _, held=holder: held, range(3))
        wait_until(lambda: executor.stats().completed == 3)
        gone = weakref.ref(holder)
        del holder
        wait_until(lambda: gc.collect() >= 0 and gone() is None)


def test_the_function_of_a_map_dies_as_soon_as_its_jobs_have_ended() -> None:
    class Function:
        def __call__(self, payload: int) -> int:
            return payload

    with without_collector(), Executor(1) as executor:
        function = Function()
        gone = weakref.ref(function)
        results = executor.map(function, range(3))
        del function
        wait_until(lambda: gone() is None)
        assert list(results) == [0, 1, 2]


@pytest.mark.parametrize("ended", [True, False])
def test_a_future_in_a_cycle_through_its_dict_is_collected(ended: bool) -> None:
    class Holder:
        future: Any = None

    with one_busy_worker() as (executor, gate):
        holder = Holder()
        holder.future = executor.submit(int)
        if ended:
            gate.open()
            holder.future.result(WAIT)
        holder.future.__dict__["holder"] = holder
        gate.open()
        gone = weakref.ref(holder)
        del holder
        wait_until(lambda: gc.collect() >= 0 and gone() is None)
