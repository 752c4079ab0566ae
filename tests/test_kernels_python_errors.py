"""Python errors that kernels leave on their thread: each is its launch's, and nobody else ever sees it."""

from __future__ import annotations

import ctypes
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import WAIT, identity
from kernel_tools import NO_COMPILER, kernels, plain

import loomy
from loomy import Pool

pytestmark = pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER))


class LeftError(Exception):
    pass


def raise_it() -> None:
    raise LeftError("left behind")


def leaving(name: str, callable_: Callable[[], object] = raise_it) -> loomy.Kernel:
    """Calls that in each chunk. The callable must live as long as the kernel."""
    return loomy.kernel(kernels("python_errors.c")[name], user_data=ctypes.c_void_p(id(callable_)))


@pytest.fixture
def pool() -> Iterator[Pool[Any, Any]]:
    with Pool(identity, size=1) as made:
        yield made


def check_that_the_thread_is_clean(pool: Pool[Any, Any]) -> None:
    """A function that returns a status and nothing else, and a job, on the pool's one worker."""
    bad = (ctypes.c_int64 * 1)(0)
    fail = loomy.kernel(plain().fail_range, signature="int (intptr_t, intptr_t, void *)")
    with pytest.raises(ValueError, match="LOOMY_EVALUE"):
        pool.launch(fail, bad, n=1).result(WAIT)
    assert pool.process(3) == 3


@pytest.mark.parametrize("status", [0, 1, -10])
def test_an_error_that_is_left_is_the_launchs_whatever_says_so(pool: Pool[Any, Any], status: int) -> None:
    for _ in range(3):
        with pytest.raises(LeftError, match="left behind") as caught:
            pool.launch(leaving("leave"), status, n=1).result(WAIT)
        assert "in kernel 'leave'" in caught.value.__notes__[0]
        check_that_the_thread_is_clean(pool)


def test_a_status_of_the_kernels_own_is_what_it_failed_with(pool: Pool[Any, Any]) -> None:
    for _ in range(3):
        with pytest.raises(ValueError, match="LOOMY_EVALUE"):
            pool.launch(leaving("leave"), -2, n=1).result(WAIT)
        check_that_the_thread_is_clean(pool)


@pytest.mark.parametrize("name", ["leave_in_prepare", "leave_in_finish"])
def test_an_error_left_before_the_chunks_or_after_them(pool: Pool[Any, Any], name: str) -> None:
    for _ in range(3):
        with pytest.raises(LeftError, match="left behind"):
            pool.launch(leaving(name), n=1).result(WAIT)
        check_that_the_thread_is_clean(pool)


def test_an_error_of_finish_does_not_replace_that_of_the_chunks(pool: Pool[Any, Any]) -> None:
    with pytest.raises(ValueError, match="the chunk"):
        pool.launch(leaving("fail_and_leave_in_finish"), n=1).result(WAIT)
    check_that_the_thread_is_clean(pool)


def test_the_calling_thread_keeps_no_error_of_a_chunk_it_ran() -> None:
    def call() -> None:
        for _ in range(5):
            with pytest.raises(LeftError):
                leaving("leave")(0, n=1)

    call()
    with Pool(lambda _: call(), size=1) as pool:  # on a worker it is always that thread
        pool.process(None)


@pytest.mark.parametrize("name", ["forgive", "replace"])
def test_the_error_of_a_loop_that_its_chunk_does_not_pass_on_dies(pool: Pool[Any, Any], name: str) -> None:
    made: list[weakref.ref[LeftError]] = []

    def raise_and_note() -> None:
        error = LeftError("of the loop")
        made.append(weakref.ref(error))
        raise error

    for _ in range(20):
        error = pool.launch(leaving(name, raise_and_note), n=1).exception(WAIT)
        assert type(error) is (type(None) if name == "forgive" else IndexError)
    gc.collect()
    assert len(made) == 20
    assert [ref for ref in made if ref() is not None] == []
