"""A status or a C++ exception becomes an exception of Python that says where it happened."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from helpers import WAIT, identity, unraisable_errors
from kernel_tools import NO_COMPILER, kernels, library

import loomy
from loomy import Pool

pytestmark = pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER))

STATUSES: list[tuple[int, type[Exception]]] = [
    (-1, RuntimeError),
    (-2, ValueError),
    (-3, TypeError),
    (-4, MemoryError),
    (-5, IndexError),
    (-6, OverflowError),
    (-7, ZeroDivisionError),
    (-8, OSError),
    (-9, NotImplementedError),
    (-10, RuntimeError),
    (-12, RuntimeError),
    (-77, RuntimeError),
    (5, RuntimeError),
]


@pytest.fixture
def fail() -> loomy.Kernel:
    return kernels("native.c").fail


@pytest.mark.parametrize(("status", "error"), STATUSES)
def test_status_becomes_a_builtin_exception(fail: loomy.Kernel, status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="item 41 is bad") as caught:
        fail(status, 41, True, n=100)
    assert type(caught.value) is error
    with pytest.raises(error, match="kernel 'fail' failed with"):
        fail(status, 41, False, n=100)


def test_the_note_names_kernel_pool_and_items(fail: loomy.Kernel) -> None:
    with Pool(identity, size=2, name="press") as pool, pytest.raises(ValueError, match="bad") as caught:
        pool.launch(fail, -2, 41, True, n=100, chunks=10).result(WAIT)
    assert caught.value.__notes__ == ["in kernel 'fail' of pool 'press', items 40 to 49"]


def test_the_same_exception_is_raised_each_time(fail: loomy.Kernel) -> None:
    with Pool(identity, size=1) as pool:
        result = pool.launch(fail, -2, 0, True, n=1)
        errors = {id(result.exception(WAIT))}
        for _ in range(2):
            with pytest.raises(ValueError, match="item 0 is bad") as caught:
                result.result(WAIT)
            errors.add(id(caught.value))
            assert len(caught.value.__notes__) == 1
        assert len(errors) == 1


@pytest.mark.parametrize(("first", "second"), [(3, 1500), (1500, 3)])
def test_the_first_error_wins_and_stops_the_other_chunks(first: int, second: int) -> None:
    """Chunks 0 and 1 run when it happens, of 1000; the second error comes because of the first."""
    kernel = loomy.kernel(kernels("native.c").fail_twice, name="picky")
    ran = (ctypes.c_int64 * 2)()
    with Pool(identity, size=2) as pool:
        result = pool.launch(kernel, first, second, ran, n=1_000_000, chunks=1000)
        with pytest.raises(ValueError, match="the first error") as caught:
            result.result(WAIT)
        begin = first // 1000 * 1000
        assert caught.value.__notes__[0].endswith(f"items {begin} to {begin + 999}")
        assert ran[1] == 1
        assert ran[0] <= 2
        assert pool.stats().failed == 1
        assert pool.launch(kernel, -1, -1, ran, n=1000, chunks=10).result(WAIT) is None  # they are as before
        assert 10 <= ran[0] <= 12


THROWN: list[tuple[int, type[Exception], str]] = [
    (0, RuntimeError, "runtime"),
    (1, ValueError, "invalid"),
    (2, IndexError, "range"),
    (3, OverflowError, "overflow"),
    (4, MemoryError, "bad_alloc"),
    (5, OSError, "system"),
    (6, ZeroDivisionError, "zero"),
    (7, NotImplementedError, "later"),
    (8, loomy.WorkerPanic, "int"),
]


@pytest.mark.parametrize(("kind", "error", "message"), THROWN)
def test_10_cpp_exception_types_map(kind: int, error: type[Exception], message: str) -> None:
    kernel = kernels("throws.cpp").throw_kind
    with pytest.raises(error, match=message) as caught:
        kernel(kind, n=100)
    assert type(caught.value) is error
    assert "items" in caught.value.__notes__[0]


def test_10_an_unwrapped_throw_does_not_kill_the_process() -> None:
    kernel = kernels("throws.cpp").unwrapped
    for _ in range(20):
        with pytest.raises(
            loomy.WorkerPanic, match=r"a C\+\+ exception left kernel 'unwrapped'.*nobody caught"
        ) as e:
            kernel(n=10)
        assert isinstance(e.value.__cause__, RuntimeError)
    with Pool(identity, size=2) as pool:
        with pytest.raises(loomy.WorkerPanic):
            pool.launch(kernel, n=10).result(WAIT)
        assert pool.process(-1) == -1


def test_10_a_throw_out_of_a_bare_function_does_not_kill_the_process() -> None:
    function = ctypes.CDLL(str(library("throws.cpp"))).bare_unwrapped
    kernel = loomy.kernel(function, signature="int (intptr_t, intptr_t, void *)")
    with pytest.raises(loomy.WorkerPanic, match="out of a bare function"):
        kernel(n=3)


def test_cpp_kernels_have_the_signature_of_their_function() -> None:
    assert kernels("throws.cpp").axpy.signature == "f8[n] f8[n]! f8"


def test_a_bare_function_that_fails_takes_no_gil() -> None:
    """Its chunk ends, and the next launch runs, while this thread keeps the GIL."""
    fail = loomy.kernel(
        ctypes.CDLL(str(library("plain.c"))).fail_range, signature="int (intptr_t, intptr_t, void *)"
    )
    wait_attached = ctypes.PyDLL(str(library("waits.c"))).wait_for_count
    wait_attached.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    bad, done = (ctypes.c_int64 * 1)(), (ctypes.c_int64 * 1)()
    doze = kernels("native.c").doze
    with Pool(identity, size=1, affinity="worker") as pool:
        assert pool.process(1) == 1  # the worker has started, which takes the GIL
        before = pool.launch(doze, 0.2, done, n=1)  # until this thread waits
        failing = pool.launch(fail, bad, n=1)
        after = pool.launch(doze, 0.0, done, n=1)
        assert wait_attached(ctypes.addressof(done), 2) == 0
        assert [before.result(WAIT), after.result(WAIT)] == [None, None]
        with pytest.raises(ValueError, match="LOOMY_EVALUE"):
            failing.result(WAIT)


def test_the_error_of_a_loop_is_that_of_no_later_chunk() -> None:
    kernel = kernels("native.c").fail_later
    with (
        Pool(identity, size=1, name="press") as pool,
        pytest.raises(ValueError, match="failed with") as caught,
    ):
        pool.launch(kernel, n=8, chunks=8).result(WAIT)
    assert caught.value.__notes__ == ["in kernel 'fail_later' of pool 'press', items 5 to 5"]


def test_the_note_says_that_items_are_of_a_loop_inside() -> None:
    with Pool(identity, size=1, name="press") as pool, pytest.raises(ValueError, match="refuses") as caught:
        pool.launch(kernels("native.c").fail_in_loop, n=1).result(WAIT)
    note = "in kernel 'fail_in_loop' of pool 'press', items 1000 to 1000 of a loop inside it"
    assert caught.value.__notes__ == [note]


def test_an_error_is_not_reported_twice(fail: loomy.Kernel, caplog: pytest.LogCaptureFixture) -> None:
    with unraisable_errors() as seen, Pool(identity, size=1) as pool:
        result: Any = pool.launch(fail, -2, 0, True, n=1)
        with pytest.raises(ValueError, match="bad"):
            result.result(WAIT)
        del result
    assert seen == []
    assert caplog.records == []
