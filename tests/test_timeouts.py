"""Every call with a timeout takes each kind of value alike: no limit, no time left, and what is no time."""

from __future__ import annotations

import array
import ctypes
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import ALREADY_PASSED, NO_LIMIT, NOT_A_TIMEOUT, WAIT, Gate

import loomy
from loomy import AsyncResult, BatchResult, Context, Executor, Pool


class Scene:
    """A pool and an executor of one worker each, which is free, or held at a gate until the scene ends."""

    def __init__(self, held: bool) -> None:
        self.held = held
        self.gate = Gate()
        self.pool: Pool[int, int] = Pool(self.gate.block, size=1)
        self.executor = Executor(1)
        self.result = self.pool.process_async(7)
        self.future = self.executor.submit(self.gate.block, 7)
        self.gate.wait_entered(2)
        if not held:
            self.gate.open()
            assert self.result.wait(WAIT) == self.future.result(WAIT) == 7
        self.submitted = self.pool.stats().submitted, self.executor.stats().submitted

    def is_untouched(self) -> bool:
        stats = self.pool.stats(), self.executor.stats()
        return (
            (stats[0].submitted, stats[1].submitted) == self.submitted
            and self.pool.size == self.executor.max_workers == 1
            and not self.pool.closed
        )

    def close(self) -> None:
        self.gate.open()
        self.pool.close()
        self.executor.shutdown()


@contextmanager
def scene(held: bool) -> Iterator[Scene]:
    made = Scene(held)
    try:
        yield made
    finally:
        made.close()


def outcome(job: AsyncResult[int] | None) -> int:
    assert job is not None
    return job.wait(WAIT)


def only_item(batch: BatchResult[int]) -> int:
    (result,), (error,) = batch
    if error is not None:
        raise error
    assert result is not None
    return result


def expects_none(value: object) -> int:
    assert value is None
    return 7


def has_not_ended(context: Context) -> int:
    context.check()
    return 7


def wait_of_context(scene: Scene, timeout: Any) -> int:
    context = Context()
    if not scene.held:
        context.cancel()
    if not context.wait(timeout):
        raise TimeoutError
    return 7


libm = ctypes.CDLL(None)  # the interpreter is linked with it
libm.fabs.argtypes, libm.fabs.restype = [ctypes.c_double], ctypes.c_double
fabs = loomy.kernel(libm.fabs)


def launch(scene: Scene, timeout: Any) -> int:
    out = array.array("d", [0.0])
    scene.pool.launch(fabs, array.array("d", [-7.0]), out, timeout=timeout).wait(WAIT)
    return int(out[0])


def set_size(scene: Scene, timeout: Any) -> int:
    scene.pool.set_size(0, timeout=timeout)
    return 7


def shutdown(scene: Scene, timeout: Any) -> int:
    scene.pool.shutdown(timeout)
    return 7


def set_max_workers(scene: Scene, timeout: Any) -> int:
    scene.executor.set_max_workers(0, timeout=timeout)
    return 7


# Each comes to 7 if there is time for it, and raises TimeoutError if there is none. An executor's map and its
# futures are not here: they take and refuse what the standard library's do (test_executor_same.py).
Call = Callable[[Scene, Any], int]
CALLS: dict[str, Call] = {
    "process": lambda at, t: at.pool.process(7, timeout=t),
    "process_async": lambda at, t: outcome(at.pool.process_async(7, timeout=t)),
    "try_process_async": lambda at, t: outcome(at.pool.try_process_async(7, timeout=t)),
    "process_batch": lambda at, t: only_item(at.pool.process_batch([7], timeout=t)),
    "process_batch_async": lambda at, t: only_item(at.pool.process_batch_async([7], timeout=t).wait(WAIT)),
    "map": lambda at, t: next(at.pool.map([7], timeout=t)),
    "map, unordered": lambda at, t: next(at.pool.map([7], ordered=False, timeout=t)),
    "launch": launch,
    "wait": lambda at, t: at.result.wait(t),
    "result": lambda at, t: at.result.result(t),
    "exception": lambda at, t: expects_none(at.result.exception(t)),
    "set_size": set_size,
    "shutdown": shutdown,
    "Context": lambda at, t: has_not_ended(Context(t)),
    "with_timeout": lambda at, t: has_not_ended(Context().with_timeout(t)),
    "wait of a context": wait_of_context,
    "set_max_workers": set_max_workers,
}

each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)

TINY = [5e-324, 1e-300, 1e-9]
HUGE = [10**400, 1.7e308, 2**63]


@each_call
def test_none_and_huge_timeouts_are_no_limit(call: Call) -> None:
    for timeout in [*NO_LIMIT, *HUGE]:
        with scene(held=False) as at:
            assert call(at, timeout) == 7, timeout


@each_call
def test_timeout_without_time_left_ends_the_call_though_nothing_else_does(call: Call) -> None:
    for timeout in [*ALREADY_PASSED, *TINY, -(10**400)]:
        with scene(held=True) as at, pytest.raises(TimeoutError):
            call(at, timeout)


@each_call
def test_nan_is_a_value_error_and_changes_nothing(call: Call) -> None:
    with scene(held=False) as at:
        for timeout in (math.nan, -math.nan):
            with pytest.raises(ValueError, match=r"timeout must be .*nan"):
                call(at, timeout)
        assert at.is_untouched()


@each_call
def test_what_is_no_number_is_a_type_error_and_changes_nothing(call: Call) -> None:
    with scene(held=False) as at:
        for timeout in NOT_A_TIMEOUT:
            with pytest.raises(TypeError, match="timeout must be"):
                call(at, timeout)
        assert at.is_untouched()


@each_call
def test_numpy_scalars_are_numbers(call: Call) -> None:
    numpy: Any = pytest.importorskip("numpy")
    for kind in (numpy.float64, numpy.float32, numpy.float16, numpy.int64, numpy.uint8):
        with scene(held=False) as at:
            assert call(at, kind(100)) == 7, kind
        with scene(held=True) as at, pytest.raises(TimeoutError):
            call(at, kind(0))
    with scene(held=False) as at:
        with pytest.raises(ValueError, match=r"timeout must be .*nan"):
            call(at, numpy.float32("nan"))
        assert at.is_untouched()
        assert call(at, numpy.float64("inf")) == 7
