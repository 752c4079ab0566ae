"""Kernels on arrays, against NumPy: calls, launches, what they return and what is counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from helpers import WAIT, Gate, identity, in_threads

np: Any = pytest.importorskip("numpy")

from kernel_tools import NO_COMPILER, kernels  # noqa: E402

import loomy  # noqa: E402
from loomy import Pool  # noqa: E402

pytestmark = pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER))


@pytest.fixture
def native() -> loomy.KernelLibrary:
    return kernels("native.c")


def mandelbrot(size: int, limit: int) -> Any:
    row, column = np.mgrid[0:size, 0:size]
    c = -2.0 + 3.0 * column / size + 1j * (-1.5 + 3.0 * row / size)
    z = np.zeros_like(c)
    count = np.zeros(c.shape, np.int32)
    for _ in range(limit):
        inside = z.real**2 + z.imag**2 <= 4
        count += inside
        z = np.where(inside, z * z + c, z)
    return count


def test_calling_a_kernel_returns_none_when_all_of_it_has_ended(native: loomy.KernelLibrary) -> None:
    x, y = np.arange(100_000.0), np.ones(100_000)
    call: Any = native.saxpy
    assert call(x, y, 2.5) is None
    assert (y == 1 + 2.5 * np.arange(100_000.0)).all()


def test_launch_returns_a_result_of_none(native: loomy.KernelLibrary) -> None:
    x, y = np.arange(1000.0), np.zeros(1000)
    with Pool(identity, size=2) as pool:
        result = pool.launch(native.saxpy, x, y, 2)
        answer: object = result.result(WAIT)
        assert answer is None
        assert result.exception() is None
        assert result.done()
        assert not result.running()
        assert not result.cancelled()
    assert (y == 2 * x).all()


def test_launch_can_be_awaited(native: loomy.KernelLibrary) -> None:
    x, y = np.arange(1000.0), np.zeros(1000)

    async def main() -> None:
        with Pool(identity, size=2) as pool:
            await asyncio.gather(*(pool.launch(native.saxpy, x, np.zeros(1000), 1.0) for _ in range(50)))
            await pool.launch(native.saxpy, x, y, 2.0)
            with pytest.raises(ValueError, match="item 3 is bad"):
                await pool.launch(native.fail, -2, 3, True, n=10)

    asyncio.run(main())
    assert (y == 2 * x).all()


def test_mandelbrot_is_what_numpy_computes(native: loomy.KernelLibrary) -> None:
    image = np.zeros((64, 64), np.int32)
    native.mandelbrot(image, 50)
    # The last bit of a sum may differ, and with it the count of a point at the border.
    assert (image != mandelbrot(64, 50)).mean() < 0.01


def test_stencil_with_halo_is_what_numpy_computes(native: loomy.KernelLibrary) -> None:
    before = np.random.default_rng(1).random((200, 77))
    after = np.full_like(before, -1)
    native.stencil(before, after)
    inner = (before[:-2, 1:-1] + before[2:, 1:-1] + before[1:-1, :-2] + before[1:-1, 2:]) / 4
    assert np.allclose(after[1:-1, 1:-1], inner)
    assert (after[[0, -1]] == -1).all()
    assert (after[:, [0, -1]] == -1).all()


def test_11_same_bits_for_1_2_and_7_workers_with_16_chunks(native: loomy.KernelLibrary) -> None:
    random = np.random.default_rng(2)
    x, y = random.standard_normal((2, 123_457)) * 10.0 ** random.integers(-8, 8, 123_457)
    seen = set()
    for size in (1, 2, 7):
        with Pool(identity, size=size) as pool:
            for _ in range(20):
                out = np.zeros(1)
                pool.launch(native.dot, x, y, out, chunks=16).result(WAIT)
                seen.add(out.tobytes())
    assert len(seen) == 1


def test_the_number_of_chunks_decides_about_the_bits(native: loomy.KernelLibrary) -> None:
    """So that the test above would see a partition that is not what was asked for."""
    x = np.random.default_rng(3).standard_normal(100_000)
    sums = set()
    for chunks in (1, 2, 3, 16, 1000):
        out = np.zeros(1)
        native.dot(x, x, out, chunks=chunks)
        sums.add(out.tobytes())
    assert len(sums) > 1


def test_n_may_be_less_than_the_arrays_have(native: loomy.KernelLibrary) -> None:
    x, y = np.ones(10), np.zeros(10)
    native.saxpy(x, y, 1.0, n=4)
    assert y.tolist() == [1.0] * 4 + [0.0] * 6


def test_nothing_is_called_for_no_items(native: loomy.KernelLibrary) -> None:
    native.fail(-1, 0, True, n=0)
    native.saxpy(np.zeros(0), np.zeros(0), 1.0)
    with Pool(identity, size=1) as pool:
        assert pool.launch(native.fail, -1, 0, True, n=0).result(WAIT) is None
        assert pool.stats().completed == 1


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("n", -1, ValueError),
        ("n", 2**62, ValueError),
        ("n", 10**30, ValueError),
        ("n", 1.0, TypeError),
        ("n", "1", TypeError),
        ("chunks", 0, ValueError),
        ("chunks", -3, ValueError),
        ("chunks", 2.5, TypeError),
        ("grain", -1, ValueError),
        ("grain", [], TypeError),
    ],
)
def test_options_are_checked(
    native: loomy.KernelLibrary, option: str, value: Any, error: type[Exception]
) -> None:
    arguments: dict[str, Any] = {"n": 1, option: value}
    with pytest.raises(error, match=option):
        native.fail(-1, 5, True, **arguments)
    with Pool(identity, size=1) as pool:
        with pytest.raises(error, match=option):
            pool.launch(native.fail, -1, 5, True, **arguments)
        assert pool.stats().submitted == 0


def test_unknown_options_and_no_kernel_are_type_errors(native: loomy.KernelLibrary) -> None:
    wrong: Any = native.fail
    with pytest.raises(TypeError, match="size"):
        wrong(-1, 5, True, n=1, size=3)
    with Pool(identity, size=1) as pool:
        anything: Any = pool
        with pytest.raises(TypeError, match=r"loomy\.kernel\("):
            anything.launch(abs, 1)
        with pytest.raises(TypeError):
            anything.launch()
        with pytest.raises(TypeError, match="color"):
            anything.launch(native.fail, color=1)


def test_a_launch_counts_as_one_job(native: loomy.KernelLibrary) -> None:
    x, y = np.ones(1000), np.zeros(1000)
    with Pool(identity, size=2) as pool:
        for _ in range(5):
            pool.launch(native.saxpy, x, y, 1.0, chunks=100).result(WAIT)
        with pytest.raises(ValueError, match="bad"):
            pool.launch(native.fail, -2, 3, True, n=10).result(WAIT)
        stats = pool.stats()
    assert (stats.submitted, stats.completed, stats.failed) == (6, 5, 1)


def test_no_hook_is_called_for_a_launch(native: loomy.KernelLibrary) -> None:
    """It would need the GIL on the worker."""
    seen: list[object] = []

    class Watch(loomy.Hooks[Any, Any]):
        def on_job_start(self, payload: object) -> None:
            seen.append(payload)

    with Pool(identity, size=2, hooks=Watch()) as pool:
        pool.launch(native.saxpy, np.ones(9), np.ones(9), 1.0).result(WAIT)
        assert pool.process(-1) == -1
    assert seen == [-1]


def test_a_kernel_runs_on_a_pool_of_any_kind(native: loomy.KernelLibrary) -> None:
    class Nothing(loomy.Worker[int, int]):
        def process(self, ctx: loomy.Context, payload: int) -> int:
            return payload

    x = np.arange(5000.0)
    pools: list[loomy.Pool[Any, Any]] = [Pool.from_callbacks(size=2), Pool.from_workers(Nothing, size=2)]
    for pool in pools:
        with pool:
            y = np.zeros(5000)
            pool.launch(native.saxpy, x, y, 3.0).result(WAIT)
            assert (y == 3 * x).all()


def test_python_jobs_and_launches_share_a_pool(native: loomy.KernelLibrary) -> None:
    x = np.arange(2000.0)
    with Pool(identity, size=2) as pool:
        arrays = [np.zeros(2000) for _ in range(50)]
        launches = [pool.launch(native.saxpy, x, y, 1.0) for y in arrays]
        jobs = [pool.process_async(-i) for i in range(50)]
        assert [job.result(WAIT) for job in jobs] == [-i for i in range(50)]
        for launch in launches:
            launch.result(WAIT)
    assert all((y == x).all() for y in arrays)


def test_8_threads_at_once_get_the_right_answers(native: loomy.KernelLibrary) -> None:
    def work(seed: int) -> bool:
        x = np.random.default_rng(seed).standard_normal(20_000)
        expected = 2 * (x * x).sum()  # x @ x would start the threads of a BLAS, which spin
        for _ in range(30):
            y, out = np.zeros(20_000), np.zeros(1)
            native.saxpy(x, y, 2.0)
            native.dot(x, y, out)
            if not ((y == 2 * x).all() and np.isclose(out[0], expected)):
                return False
        return True

    assert in_threads(8, work) == [True] * 8


def test_a_queued_launch_says_that_it_is_queued(native: loomy.KernelLibrary) -> None:
    with Gate() as gate, Pool(gate.block, size=1, affinity="worker") as pool:
        pool.process_async(1)
        gate.wait_entered()
        y = np.zeros(10)
        result = pool.launch(native.saxpy, np.ones(10), y, 1.0)
        assert "queued" in repr(result)
        assert not result.running()
        assert not result.done()
        assert pool.queue_length == 1
        gate.open()
        result.result(WAIT)
        assert "done" in repr(result)


def test_describing_itself(native: loomy.KernelLibrary) -> None:
    assert repr(native.saxpy) == "<loomy.Kernel 'saxpy': x:f8[n] y:f8[n]! a:f8>"
    assert native.saxpy.name == native.saxpy.__name__ == "saxpy"
    assert native.saxpy.signature == "x:f8[n] y:f8[n]! a:f8"
    assert native.saxpy.__doc__ == "Kernel saxpy."
    assert native.saxpy.shape == "native"
    assert "unchecked" in repr(native.any)
