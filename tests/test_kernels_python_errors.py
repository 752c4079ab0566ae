"""Python errors that kernels leave on their thread: each is its launch's, and nobody else ever sees it."""

from __future__ import annotations

import ctypes
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import WAIT, identity
from kernel_tools import NO_COMPILER, kernels, library, plain

import loomy
import loomy._host_api
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
    with Pool[None, None](lambda _: call(), size=1) as pool:  # on a worker it is always that thread
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


class HostTable(ctypes.Structure):
    """loomy_host, as far as it is used here."""

    _fields_ = (("size", ctypes.c_uint32), ("abi", ctypes.c_uint32), ("functions", ctypes.c_void_p * 6))


def host_functions(prototype: Any) -> tuple[Any, Any, Any]:
    """launch, stop and wait, called with the GIL (PYFUNCTYPE, which raises the error they set) or without."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = HostTable.from_address(get(loomy._host_api.v1, b"loomy._host_api.v1"))
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    launch = prototype(
        ctypes.c_int, pointer, pointer, pointer, ctypes.c_uint32, number, number, number, pointer
    )
    stop, wait = prototype(None, pointer), prototype(ctypes.c_int, pointer, pointer, ctypes.c_size_t)
    return launch(table.functions[2]), stop(table.functions[3]), wait(table.functions[4])


def start(launch: Any) -> int:
    """A launch of one chunk that leaves a Python error and returns LOOMY_OK."""
    make = ctypes.CDLL(str(library("python_errors.c"))).make_leaving_kernel
    make.restype, make.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
    flight = ctypes.c_void_p()
    assert launch(None, make(id(raise_it)), None, 0, 1, 0, 0, ctypes.addressof(flight)) == 0
    assert flight.value is not None
    return flight.value


def test_the_host_sets_the_error_of_a_kernel_where_its_caller_has_the_gil() -> None:
    launch, _, wait = host_functions(ctypes.PYFUNCTYPE)
    with pytest.raises(LeftError, match="left behind"):
        wait(start(launch), None, 0)
    launch, _, wait = host_functions(ctypes.CFUNCTYPE)
    assert wait(start(launch), None, 0) == -10  # LOOMY_EPYTHON


def test_the_host_takes_null_for_a_flight() -> None:
    _, stop, wait = host_functions(ctypes.CFUNCTYPE)
    stop(None)
    assert wait(None, None, 0) == -2  # LOOMY_EVALUE
