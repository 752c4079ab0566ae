"""Arguments are held from the launch to its last chunk, and not longer; no worker takes the GIL for it."""

from __future__ import annotations

import ctypes
import functools
import gc
import weakref
from typing import Any

import pytest
from helpers import WAIT, Gate, identity, wait_until

np: Any = pytest.importorskip("numpy")

from kernel_tools import NO_COMPILER, kernels, library  # noqa: E402

import loomy  # noqa: E402
from loomy import Pool  # noqa: E402

pytestmark = pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER))


@pytest.fixture
def saxpy() -> loomy.Kernel:
    return kernels("native.c").saxpy


@pytest.fixture
def poll() -> loomy.Kernel:
    """Runs for so many seconds, and holds what else it is given."""
    return loomy.kernel(kernels("native.c").poll, signature="seconds:f8 held:u1[:]")


class Array(np.ndarray):  # type: ignore[misc]
    """One that can be watched."""


def array(count: int = 1000) -> Any:
    return np.zeros(count).view(Array)


def test_03_bytearray_can_be_resized_after_result(saxpy: loomy.Kernel) -> None:
    x = bytearray(8000)
    with Pool(identity, size=2) as pool:
        for _ in range(200):
            y = bytearray(8000)
            result = pool.launch(saxpy, memoryview(x).cast("d"), memoryview(y).cast("d"), 1.0)
            result.result(WAIT)
            y.append(0)
            x.append(0)
            del x[-1]


def test_bytearray_can_be_resized_after_a_call(poll: loomy.Kernel) -> None:
    held = bytearray(8)
    for _ in range(200):
        poll(0.0, held, n=1)
        held.append(0)


def test_bytearray_cannot_be_resized_while_the_kernel_runs(poll: loomy.Kernel) -> None:
    held = bytearray(8)
    with Pool(identity, size=1) as pool:
        result = pool.launch(poll, 10.0, held, n=1)
        with pytest.raises(BufferError):
            held.append(0)
        assert result.cancel()
        wait_until(lambda: pool.running == 0)
        with pytest.raises(loomy.JobCancelled):
            result.result(WAIT)
        wait_until(lambda: resizable(held))


def resizable(held: bytearray) -> bool:
    try:
        held.append(0)
    except BufferError:
        return False
    return True


def test_03_bytearray_can_be_resized_soon_after_a_dropped_result(poll: loomy.Kernel) -> None:
    with Pool(identity, size=1) as pool:
        for _ in range(20):
            held = bytearray(8)
            pool.launch(poll, 0.01, held, n=1)
            assert not resizable(held)
            wait_until(lambda: pool.stats().completed == pool.stats().submitted)
            # The worker has left the rest to this thread's next event.
            wait_until(functools.partial(resizable, held), timeout=1.0)


def test_03_weakrefs_to_arguments_die(saxpy: loomy.Kernel) -> None:
    with Pool(identity, size=2) as pool:
        x, y = array(), array()
        seen = [weakref.ref(x), weakref.ref(y)]
        result = pool.launch(saxpy, x, y, 1.0)
        result.result(WAIT)
        del x, y
        assert [ref() for ref in seen] == [None, None]
        del result


def test_03_weakrefs_to_arguments_die_soon_after_a_dropped_result(saxpy: loomy.Kernel) -> None:
    with Pool(identity, size=2) as pool:
        x = array()
        seen = weakref.ref(x)
        pool.launch(saxpy, x, array(), 1.0)
        del x
        wait_until(lambda: seen() is None, "the end of the array")


def test_weakrefs_die_after_wrong_arguments_and_failed_launches(saxpy: loomy.Kernel) -> None:
    x, bad = array(), array(5)
    seen = [weakref.ref(x), weakref.ref(bad)]
    closed: Pool[int, int] = Pool(identity, size=1)
    closed.close()
    with pytest.raises(ValueError, match="length"):
        saxpy(x, bad, 1.0)
    with pytest.raises(loomy.PoolNotRunning):
        closed.launch(saxpy, x, array(), 1.0)
    with Gate() as gate, Pool(gate.block, size=1, max_pending=0, on_full="raise", affinity="worker") as pool:
        pool.process_async(1)
        gate.wait_entered()
        with pytest.raises(loomy.PoolFull):
            pool.launch(saxpy, x, array(), 1.0)
        gate.open()
    del x, bad
    gc.collect()  # tracebacks
    assert [ref() for ref in seen] == [None, None]


def test_arrays_live_until_a_launch_whose_result_was_dropped_has_written_them(saxpy: loomy.Kernel) -> None:
    with Gate() as gate, Pool(gate.block, size=1, affinity="worker") as pool:
        pool.process_async(1)
        gate.wait_entered()
        base = np.zeros(1000)
        pool.launch(saxpy, np.ones(1000), base[:], 1.0)
        gc.collect()
        assert not base.any()
        gate.open()
        wait_until(lambda: pool.stats().completed == 2)
    assert (base == 1).all()


def test_arrays_live_until_the_chunks_of_a_cancelled_launch_have_ended() -> None:
    kernel = kernels("native.c").doze
    done = np.zeros(1, np.int64).view(Array)
    seen = weakref.ref(done)
    with Pool(identity, size=1) as pool:
        result = pool.launch(kernel, 1.0, done, n=100)
        wait_until(lambda: pool.running == 1)
        assert result.cancel()
        with pytest.raises(loomy.JobCancelled):
            result.result(WAIT)
        del done, result
        gc.collect()
        assert seen() is not None
        wait_until(lambda: seen() is None, "the end of the chunk that was running")
        assert pool.stats().cancelled == 1


def test_the_kernel_and_what_it_was_made_of_live_as_long_as_its_launches() -> None:
    function = ctypes.CDLL(str(library("plain.c"))).fill_range
    out = np.full(100, -1)
    user = (ctypes.c_int64 * 2)(out.ctypes.data, 7)

    class Data(ctypes.Structure):
        _fields_ = (("out", ctypes.c_void_p), ("add", ctypes.c_int64))

    data = Data(out.ctypes.data, 7)
    ends = weakref.ref(data)
    kernel = loomy.kernel(function, signature="int (intptr_t, intptr_t, void *)", user_data=data)
    with Gate() as gate, Pool(gate.block, size=1, affinity="worker") as pool:
        pool.process_async(1)
        gate.wait_entered()
        pool.launch(kernel, n=100)
        del kernel, data
        gc.collect()
        assert ends() is not None
        gate.open()
        wait_until(lambda: pool.stats().completed == 2)
    assert (out == np.arange(100) + 7).all()
    wait_until(lambda: ends() is None, "the end of the user data")
    assert len(user) == 2


def test_a_kernel_in_a_cycle_with_what_it_was_made_of_is_collected() -> None:
    class Holder:
        kernel: loomy.Kernel | None = None

        def __loomy_kernel__(self) -> Any:
            return kernels("native.c").saxpy

    holder = Holder()
    holder.kernel = loomy.kernel(holder)
    ends: list[Any] = [weakref.ref(holder), weakref.ref(holder.kernel)]
    del holder
    gc.collect()
    assert [ref() for ref in ends] == [None, None]


def test_results_and_their_errors_make_no_lasting_cycle(saxpy: loomy.Kernel) -> None:
    with Pool(identity, size=1) as pool:

        def fail() -> tuple[Any, ...]:
            x = array()
            result = pool.launch(kernels("native.c").fail, -1, 3, True, n=10)
            with pytest.raises(RuntimeError):
                result.result(WAIT)
            return weakref.ref(x), weakref.ref(result)

        ends = fail()
        gc.collect()
        assert [ref() for ref in ends] == [None, None]


def test_an_error_nobody_looked_at_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with Pool(identity, size=1) as pool:
        pool.launch(kernels("native.c").fail, -2, 3, True, n=10)
        wait_until(lambda: bool(caplog.records), "the report")
        assert "item 3 is bad" in caplog.text
        pool.launch(kernels("native.c").fail, -2, 3, True, n=10).exception(WAIT)
        kept = pool.launch(kernels("native.c").fail, -2, 4, True, n=10)
        wait_until(kept.done)
        del kept
        gc.collect()
    assert caplog.text.count("is bad") == 2
    assert "item 4 is bad" in caplog.text


def test_02_kernel_throughput_is_unchanged_while_another_thread_spins() -> None:
    """Completion takes no GIL: here another thread does not let go of it at all, and all launches end."""
    kernel = kernels("native.c").doze
    spin_in_c = ctypes.PyDLL(str(library("waits.c"))).wait_for_count  # keeps the GIL
    spin_in_c.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    launches = 100
    done = np.zeros(1, np.int64)
    with Gate() as gate, Pool(gate.block, size=1, affinity="worker") as pool:
        pool.process_async(1)
        gate.wait_entered()
        kept = [pool.launch(kernel, 0.002, done, n=1) for _ in range(launches)]
        gate.open()
        kept[0].result(WAIT)  # the worker has left the job, which is Python
        assert spin_in_c(done.ctypes.data, launches) == 0
        for one in kept:
            one.result(WAIT)
