"""`loomy.ufunc`: what it shares and what it leaves to NumPy, errors, floating-point flags, pools."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

np: Any = pytest.importorskip("numpy")

from helpers import WAIT, Gate, identity  # noqa: E402
from ufunc_cases import LARGE, WAYS, bits, numbers, outcome, share, sharing  # noqa: E402

import loomy  # noqa: E402
from loomy._ufunc import SharedCall, native  # noqa: E402

AnyPool = loomy.Pool[Any, Any]

PAYS = 1_000_000  # elements: certainly worth sharing


@pytest.fixture
def pool() -> Iterator[AnyPool]:
    with loomy.Pool(identity, size=2) as made:
        yield made


@pytest.fixture
def workers() -> Iterator[AnyPool]:
    """A pool whose callers never take part, so that all is done by other threads."""
    with loomy.Pool(identity, size=2, affinity="worker") as made:
        yield made


def jobs_of(pool: AnyPool) -> int:
    return pool.stats().submitted


# What is shared


def test_importing_loomy_does_not_import_numpy() -> None:
    check = "import sys, loomy; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=30)


def test_a_large_call_is_shared_and_a_small_one_is_not(pool: AnyPool) -> None:
    sin = loomy.ufunc(np.sin, pool=pool)
    small, large = np.linspace(0, 1, 1000), np.linspace(0, 1, PAYS)
    assert sin(small).tobytes() == np.sin(small).tobytes()
    assert jobs_of(pool) == 0
    assert sin(large).tobytes() == np.sin(large).tobytes()
    assert jobs_of(pool) > 0


def test_what_a_ufunc_costs_is_learned_from_its_calls(pool: AnyPool) -> None:
    cbrt = loomy.ufunc(np.cbrt, pool=pool)
    given = np.linspace(0, 1, 30_000).astype("g")  # a millisecond of work, but few elements
    cbrt(given)
    assert jobs_of(pool) == 0
    cbrt(given)
    assert jobs_of(pool) == 1


def test_operands_that_only_together_are_large_are_shared(pool: AnyPool) -> None:
    hypot = loomy.ufunc(np.hypot, pool=pool)
    row, column = np.linspace(0, 1, 1000), np.linspace(0, 1, 1000)[:, None]
    assert hypot(row, column).tobytes() == np.hypot(row, column).tobytes()
    assert jobs_of(pool) > 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "operands",
    [
        lambda a: (a, 2),
        lambda a: (a, 2.5),
        lambda a: (a, np.float32(2)),
        lambda a: (a.reshape(100, -1).T, 2.0),
        lambda a: (a.reshape(2, 100, -1)[:, ::2, ::-3], a.reshape(2, 100, -1)[:1, ::2, ::-3]),
        lambda a: (a.reshape(100, -1), a[: a.size // 100]),
        lambda a: (a.reshape(4, -1)[:, :, None][:, ::2], np.ones(3)),
    ],
    ids=["int", "float", "scalar", "transposed", "strided", "row", "short rows"],
)
def test_shared_whatever_the_layout(pool: AnyPool, way: str, operands: Any) -> None:
    args = operands(np.linspace(-5, 5, 12 * LARGE))
    with sharing(way):
        ours = share(pool, np.multiply, *args)
    expected = np.multiply(*args)
    assert ours.tobytes() == expected.tobytes()
    assert ours.strides == expected.strides


def test_casts_are_shared(pool: AnyPool) -> None:
    given, out = numbers("i4"), np.zeros(LARGE, "f4")
    assert share(pool, np.sin, given, out=out) is out
    assert out.tobytes() == np.sin(given, out=np.zeros(LARGE, "f4")).tobytes()


class Scaled(np.ndarray):  # type: ignore[misc]
    pass


class Boxed:
    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return ufunc.__name__, method


class BoxedScalar(np.float64):  # type: ignore[misc]
    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return ufunc.__name__, method


@pytest.mark.parametrize("way", WAYS)
def test_scalars_of_other_types_are_numpys(pool: AnyPool, way: str) -> None:
    given = np.ones(PAYS)
    with sharing(way):
        assert SharedCall(np.add, pool).call(given, BoxedScalar(2)) is NotImplemented
        assert loomy.ufunc(np.add, pool=pool)(given, BoxedScalar(2)) == ("add", "__call__")
        shared = SharedCall(np.add, pool).call(given, np.float64(2))  # and NumPy's own are not
    assert shared.tobytes() == np.full(PAYS, 3.0).tobytes()


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("add", (numbers("f8").view(Scaled), 1.0), {}),
        ("add", (np.ma.masked_array(numbers("f8"), numbers("?")), 1.0), {}),
        ("add", (numbers("f8"), Boxed()), {}),
        ("add", (numbers("i8").astype(object), 1), {}),
        ("add", (np.full(LARGE, "a"), np.full(LARGE, "b")), {}),
        ("add", ([1] * LARGE, numbers("f8")), {}),
        ("add", (numbers("f8"), numbers("f8")[1:]), {}),
        ("add", (numbers("f8"),), {}),
        ("add", (numbers("u1"), 300), {}),
        ("add", (numbers("f8"), 1), {"out": np.zeros(LARGE, "i4")}),
        ("add", (numbers("f8"), 1), {"sig": "dd->d"}),
        ("add", (numbers("f8").reshape(2, -1), 1), {"order": "F"}),
        ("add", (numbers("f8"), 1), {"nonsense": 1}),
        ("invert", (numbers("f8"),), {}),
        ("equal", (numbers("u1"), -1), {}),
        ("matmul", (np.eye(100), np.eye(100)), {}),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_everything_else_is_numpys(pool: AnyPool, name: str, args: Any, kwargs: Any) -> None:
    ufunc = getattr(np, name)
    ours = outcome(lambda: loomy.ufunc(ufunc, pool=pool)(*args, **kwargs))
    assert ours == outcome(lambda: ufunc(*args, **kwargs))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [np.dtype("f8").newbyteorder(), np.dtype("i4").newbyteorder()], ids=str)
def test_a_dtype_of_the_other_byte_order_is_numpys_to_refuse(pool: AnyPool, way: str, dtype: Any) -> None:
    given = np.ones(PAYS)
    with sharing(way):
        assert SharedCall(np.add, pool).call(given, given, dtype=dtype) is NotImplemented
        ours = outcome(lambda: loomy.ufunc(np.add, pool=pool)(given, given, dtype=dtype))
    assert ours == outcome(lambda: np.add(given, given, dtype=dtype))


@pytest.mark.parametrize("shape", [(5,), (2, 100, PAYS // 100), (100, 1, 1), (99, 1), (0,)], ids=str)
def test_a_mask_that_does_not_fit_is_numpys_to_refuse(pool: AnyPool, shape: tuple[int, ...]) -> None:
    """Its error names the shapes of the call, not those of a piece of it."""
    given = np.ones((100, PAYS // 100))

    def call(add: Any) -> Any:
        return outcome(lambda: add(given, given, np.zeros(given.shape), where=np.ones(shape, bool)))

    assert (
        SharedCall(np.add, pool).call(given, given, np.zeros(given.shape), where=np.ones(shape, bool))
        is NotImplemented
    )
    ours = call(loomy.ufunc(np.add, pool=pool))
    assert ours == call(np.add)
    assert ours.error is not None


@pytest.mark.parametrize("shape", [(), (1,), (PAYS // 100,), (100, 1), (1, 1), (100, PAYS // 100)], ids=str)
def test_a_mask_that_broadcasts_is_shared(pool: AnyPool, shape: tuple[int, ...]) -> None:
    given = np.ones((100, PAYS // 100))
    mask = np.asarray(np.arange(int(np.prod(shape))).reshape(shape) % 3 == 0)
    ours = share(pool, np.add, given, given, np.zeros(given.shape), where=mask)
    assert (ours == np.add(given, given, np.zeros(given.shape), where=mask)).all()


def test_the_other_attributes_are_numpys() -> None:
    add = loomy.ufunc(np.add)
    given = np.arange(12.0).reshape(3, 4)
    assert add.reduce(given, axis=1).tolist() == np.add.reduce(given, axis=1).tolist()
    assert add.outer([1, 2], [3]).tolist() == [[4], [5]]
    assert (add.nin, add.nout, add.identity, add.__name__) == (2, 1, 0, "add")
    assert add.__wrapped__ is np.add
    assert repr(add) == "<loomy.ufunc of <ufunc 'add'>>"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = add.nonsense


def test_it_is_pickled_as_the_ufunc_it_wraps(pool: AnyPool) -> None:
    assert pickle.loads(pickle.dumps(loomy.ufunc(np.add))).__wrapped__ is np.add
    with pytest.raises(TypeError, match="pool of its own"):
        pickle.dumps(loomy.ufunc(np.add, pool=pool))


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((len,), {}, "takes a numpy.ufunc such as np.sin, not builtin_function_or_method"),
        ((np.sin,), {"pool": 2}, "pool must be a loomy.Pool or None, not int"),
        ((), {}, "argument"),
        ((np.sin,), {"size": 2}, "size"),
    ],
)
def test_what_is_no_ufunc_is_refused(args: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        loomy.ufunc(*args, **kwargs)


def test_nothing_keeps_the_operands(pool: AnyPool) -> None:
    given = np.linspace(0, 1, LARGE)
    gone = weakref.ref(given)
    result = weakref.ref(share(pool, np.sin, given))
    del given
    assert gone() is None
    assert result() is None


# The gate


@pytest.mark.parametrize("check", ["computes", "tells_flags", "tells_errors"])
def test_loops_that_do_not_do_what_they_should_are_not_used(monkeypatch: Any, check: str) -> None:
    supported = native.is_supported.__wrapped__
    assert supported()
    monkeypatch.setattr(native, check, lambda: False)
    assert not supported()


@pytest.mark.parametrize("version", ["3.0.0", "3.1.2", "3.0.0rc1", "3.0.0.dev0+git20300101", "4.0.0"])
def test_loops_of_numpy_3_are_not_used(monkeypatch: Any, version: str) -> None:
    monkeypatch.setattr(np, "__version__", version)
    assert not native.is_supported.__wrapped__()


@pytest.mark.parametrize("version", ["2.99.0", "2.5.0rc1", "2.5.0.dev0+git20300101"])
def test_loops_of_numpys_before_3_are_used(monkeypatch: Any, version: str) -> None:
    monkeypatch.setattr(np, "__version__", version)
    assert native.is_supported.__wrapped__()


def test_another_capsule_is_not_opened(pool: AnyPool) -> None:
    _, call_info = np.negative._resolve_dtypes_and_context((np.dtype("i4"), np.dtype("i4")))
    assert loomy._loomy._run_ufunc_loop(pool, call_info, (np.zeros(3, "i4"),) * 2) is None  # not completed
    with pytest.raises(ValueError, match="PyCapsule"):
        loomy._loomy._run_ufunc_loop(pool, object(), (np.zeros(3),))


# Errors


@pytest.mark.parametrize("way", WAYS)
def test_01_power_of_integers_to_a_negative_exponent_raises_value_error(workers: AnyPool, way: str) -> None:
    exponents = np.zeros(LARGE, dtype=int)
    exponents[-1] = -1
    with sharing(way):
        with pytest.raises(ValueError, match="Integers to negative integer powers are not allowed"):
            share(workers, np.power, np.full(LARGE, 2), exponents)
        # The error is not left on the thread for whoever comes next.
        assert workers.process(3) == 3
        assert share(workers, np.power, np.full(LARGE, 2), 3).tolist() == [8] * LARGE


@pytest.mark.parametrize("size", [10, PAYS])
def test_power_raises_at_every_size(pool: AnyPool, size: int) -> None:
    with pytest.raises(ValueError, match="negative integer powers"):
        loomy.ufunc(np.power, pool=pool)(np.full(size, 2), -1)
    with pytest.raises(ValueError, match="negative integer powers"):
        loomy.ufunc(np.power, pool=pool)(np.full(size, 2), np.full(size, -1))


MODES = ["ignore", "warn", "raise", "call", "log", "print"]


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MODES)
def test_floating_point_errors_are_treated_as_errstate_says(
    workers: AnyPool, way: str, mode: str, capfd: Any
) -> None:
    # Each flag is raised by a part of its own, so that no thread sees them all.
    left = np.repeat([1.0, 0.0, 1e300, 1e-300], LARGE)
    right = np.repeat([0.0, 0.0, 1e-300, 1e300], LARGE)

    def told(call: Any) -> Any:
        log = Log()
        calls: list[Any] = []
        callback = log if mode == "log" else lambda *seen: calls.append(seen)
        with np.errstate(all=mode, call=callback):
            result = outcome(call)
        return result, log.lines, calls, capfd.readouterr().err

    with sharing(way):
        ours = told(lambda: share(workers, np.divide, left, right))
    assert ours == told(lambda: np.divide(left, right))
    if mode != "ignore":
        assert str(ours).count("encountered in divide") or len(ours[2]) == 4


@pytest.mark.parametrize("mode", ["call", "log"])
def test_errstate_without_its_callback_says_so_as_numpy_does(pool: AnyPool, mode: str) -> None:
    with np.errstate(all=mode, call=None):
        ours = outcome(lambda: share(pool, np.divide, np.ones(LARGE), 0.0))
        assert ours == outcome(lambda: np.divide(np.ones(LARGE), 0.0))


@pytest.mark.parametrize("way", WAYS)
def test_a_warning_names_the_line_of_the_caller(pool: AnyPool, way: str) -> None:
    log = loomy.ufunc(np.log, pool=pool)
    with sharing(way), pytest.warns(RuntimeWarning, match="divide by zero encountered in log") as caught:
        log(np.zeros(PAYS))
    assert jobs_of(pool) > 0
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("way", WAYS)
def test_flags_of_before_are_not_reported(workers: AnyPool, way: str) -> None:
    with sharing(way):
        with np.errstate(all="ignore"):
            share(workers, np.divide, np.ones(LARGE), 0.0)
        share(workers, np.divide, np.ones(LARGE), 2.0)  # a warning would be an error here


# Pools


def test_a_pool_that_is_closed_raises(pool: AnyPool) -> None:
    sin = loomy.ufunc(np.sin, pool=pool)
    pool.close()
    with pytest.raises(loomy.PoolNotRunning):
        sin(np.zeros(PAYS))


def test_a_pool_of_one_leaves_it_to_numpy() -> None:
    with loomy.Pool(identity, size=1) as pool:
        assert SharedCall(np.sin, pool).call(np.zeros(LARGE)) is NotImplemented
        assert loomy.ufunc(np.sin, pool=pool)(np.zeros(PAYS)).tolist() == [0.0] * PAYS


def test_a_full_pool_does_not_keep_the_caller_waiting() -> None:
    with Gate() as gate, loomy.Pool(gate.block, size=2, max_pending=0) as pool:
        results = [pool.process_async(i) for i in range(2)]
        gate.wait_entered(2)
        assert loomy.ufunc(np.sin, pool=pool)(np.zeros(PAYS)).tolist() == [0.0] * PAYS
        gate.open()
        assert [result.result(timeout=WAIT) for result in results] == [0, 1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("affinity", ["any", "worker"])
def test_every_job_of_a_pool_may_call_it_on_that_pool(way: str, affinity: Any) -> None:
    barrier = threading.Barrier(2)

    def job(scale: int) -> int:
        barrier.wait(WAIT)
        result = share(shared, np.multiply, np.ones(LARGE), np.full(LARGE, scale))
        return int(result.sum())

    with sharing(way), loomy.Pool(job, size=2, affinity=affinity) as shared:
        results = [shared.process_async(i) for i in (3, 5)]
        assert [result.result(timeout=WAIT) for result in results] == [3 * LARGE, 5 * LARGE]


def test_calls_that_take_long_are_all_shared(pool: AnyPool) -> None:
    given = np.full(2_000_000, 0.3, dtype="g")  # some hundred milliseconds by one thread
    cbrt = loomy.ufunc(np.cbrt, pool=pool)
    for _ in range(4):  # it learns what an element costs
        cbrt(given)
    for _ in range(5):
        before = jobs_of(pool)
        cbrt(given)
        assert jobs_of(pool) > before


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_a_long_call(pool: AnyPool) -> None:
    given = np.full(20_000_000, 0.3, dtype="g")  # seconds of work
    cbrt = loomy.ufunc(np.cbrt, pool=pool)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        deadline = time.monotonic() + WAIT
        while jobs_of(pool) == 0 and time.monotonic() < deadline:
            time.sleep(0.005)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    start = time.process_time()
    np.cbrt(given[:200_000])
    whole = 100 * (time.process_time() - start)
    thread.start()
    start = time.process_time()
    with pytest.raises(KeyboardInterrupt):
        cbrt(given)
    assert time.process_time() - start < whole / 2
    thread.join()
    assert bits(share(pool, np.cbrt, given[:LARGE])) == bits(np.cbrt(given[:LARGE]))


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_is_not_lost_when_another_thread_has_failed_before(pool: AnyPool) -> None:
    caller_runs_one, other_has_failed = threading.Event(), threading.Event()

    def piece() -> None:
        if threading.current_thread() is threading.main_thread():
            caller_runs_one.set()
            assert other_has_failed.wait(WAIT)
            time.sleep(0.05)  # until its failure is kept
            signal.raise_signal(signal.SIGINT)
        else:
            assert caller_runs_one.wait(WAIT)
            other_has_failed.set()
            raise ValueError("of a worker")

    with pytest.raises(KeyboardInterrupt):
        loomy._loomy._run_ufunc_pieces(pool, (piece,) * 8)


def test_a_pool_that_is_given_up_meanwhile_says_so() -> None:
    given = np.full(5_000_000, 0.3, dtype="g")  # takes some 0.4 seconds
    with loomy.Pool(identity, size=2) as pool:
        closer = threading.Timer(0.05, pool.close)
        closer.start()
        try:
            result = loomy.ufunc(np.cbrt, pool=pool)(given)
        except loomy.PoolNotRunning:
            pass
        else:
            assert result[-1] == np.cbrt(given[-1:])[0]
        closer.join()


# Other people's ufuncs


def test_scipys_ufuncs_are_shared(pool: AnyPool) -> None:
    special = pytest.importorskip("scipy.special")
    given = np.linspace(-5, 5, LARGE)
    for ufunc in (special.gamma, special.expit, special.erf, special.jv):
        args = (given,) if ufunc.nin == 1 else (given, given)
        assert share(pool, ufunc, *args).tobytes() == ufunc(*args).tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_scipys_errors_are_told_when_they_are_asked_for(pool: AnyPool, way: str) -> None:
    special = pytest.importorskip("scipy.special")
    given = np.full(PAYS, -1.0)
    with sharing(way):
        with special.errstate(all="raise"), pytest.raises(special.SpecialFunctionError):
            loomy.ufunc(special.gammaln, pool=pool)(given)
        loomy.ufunc(special.gammaln, pool=pool)(given)


@pytest.mark.parametrize("way", WAYS)
def test_numbas_ufuncs_are_shared(pool: AnyPool, way: str) -> None:
    numba = pytest.importorskip("numba")

    @numba.vectorize(["f8(f8, f8)", "i8(i8, i8)"])  # type: ignore[untyped-decorator]
    def clipped(x: Any, y: Any) -> Any:
        return x * x if x < y else y

    assert not isinstance(clipped, np.ufunc)
    given = np.linspace(-5, 5, PAYS)
    with sharing(way):
        ours = loomy.ufunc(clipped, pool=pool)(given, 7.0)
    assert jobs_of(pool) > 0
    assert ours.tobytes() == clipped(given, 7.0).tobytes()


def test_numba_compiles_what_is_missing(pool: AnyPool) -> None:
    numba = pytest.importorskip("numba")

    @numba.vectorize  # type: ignore[untyped-decorator]
    def doubled(x: Any) -> Any:
        return x + x

    twice = loomy.ufunc(doubled, pool=pool)
    given = np.linspace(-5, 5, PAYS)
    assert twice(given).tobytes() == (given + given).tobytes()
    assert jobs_of(pool) == 0  # there was no loop to share
    assert twice(given).tobytes() == (given + given).tobytes()
    assert jobs_of(pool) == 1
