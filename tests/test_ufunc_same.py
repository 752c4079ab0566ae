"""`loomy.ufunc` gives what NumPy gives: bits, types, layout, errors, warnings."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

np: Any = pytest.importorskip("numpy")

from helpers import LONG, WAIT, examples_for, identity  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from ufunc_cases import LARGE, WAYS, numbers, outcome, share, share_if_possible, sharing  # noqa: E402

import loomy  # noqa: E402

AnyPool = loomy.Pool[Any, Any]


@pytest.fixture
def pool() -> Iterator[AnyPool]:
    with loomy.Pool(identity, size=2) as made:
        yield made


UFUNCS = [
    "absolute",
    "add",
    "arctan2",
    "bitwise_and",
    "cbrt",
    "ceil",
    "conjugate",
    "copysign",
    "cos",
    "divide",
    "divmod",
    "equal",
    "exp",
    "expm1",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "frexp",
    "gcd",
    "greater",
    "heaviside",
    "hypot",
    "invert",
    "isfinite",
    "isnan",
    "ldexp",
    "left_shift",
    "less",
    "log",
    "log1p",
    "logaddexp",
    "logical_and",
    "logical_not",
    "maximum",
    "minimum",
    "modf",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "power",
    "reciprocal",
    "remainder",
    "rint",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "spacing",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
]


@pytest.mark.parametrize("name", UFUNCS)
@pytest.mark.parametrize("way", WAYS)
def test_every_loop_of_a_ufunc_gives_the_same_bits(pool: AnyPool, way: str, name: str) -> None:
    ufunc = getattr(np, name)
    tried = 0
    for loop in ufunc.types:
        types = loop.split("->")[0]
        if set(types) & set("O"):
            continue
        args = [numbers(f"{t}8[s]" if t in "mM" else t, seed=i) for i, t in enumerate(types)]
        with sharing(way):
            ours = outcome(functools.partial(share_if_possible, pool, ufunc, *args))
        assert ours == outcome(functools.partial(ufunc, *args)), loop
        tried += 1
    assert tried


def shapes(dims: int) -> st.SearchStrategy[tuple[int, ...]]:
    sides = {1: [5000, 40_001], 2: [3, 97, 400], 3: [1, 2, 11, 60]}[dims]
    return st.tuples(*[st.sampled_from(sides)] * dims)


some_numbers = functools.cache(numbers)  # to be copied: making them takes longer than the calls


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...], dtype: str) -> Any:
    """An array of that shape up to broadcasting, laid out somehow."""
    shape = tuple(1 if draw(st.integers(0, 9)) == 0 else side for side in shape)
    if draw(st.integers(0, 9)) == 0:
        shape = shape[1:]
    steps = tuple(draw(st.sampled_from([1, 1, 1, 2, -1, -3])) for _ in shape)
    base_shape = tuple(side * abs(step) for side, step in zip(shape, steps, strict=True))
    order = draw(st.permutations(range(len(shape)))) if draw(st.booleans()) else list(range(len(shape)))
    flat = np.resize(some_numbers(dtype, seed=draw(st.integers(0, 3))), int(np.prod(base_shape)))
    if draw(st.integers(0, 9)) == 0:
        flat = flat.astype(flat.dtype.newbyteorder())
    if draw(st.integers(0, 9)) == 0:
        room = np.zeros(flat.nbytes + 1, dtype="u1")[1:].view(flat.dtype)
        room[...] = flat
        flat = room
    base = flat.reshape([base_shape[axis] for axis in order]).transpose(np.argsort(order))
    return base[tuple(slice(None, None, step) for step in steps)]


DTYPES = ["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "g", "F", "D", "m8[ms]", "M8[s]"]
SCALARS = st.sampled_from([2, -1, 0.5, 3.0e38, 1e-50, 2j, True, np.float32(7), np.int8(3), np.float64(1e300)])


@pytest.mark.timeout(1800 if LONG else 60)
def test_any_operands_give_what_numpy_gives(pool: AnyPool) -> None:
    @settings(max_examples=examples_for(150, long=20_000), deadline=None)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        compare(pool, data.draw)

    check()


@functools.cache
def forgets_what_casts_raised(ufunc: Any) -> bool:
    """Whether NumPy's loop clears the flags of floating-point errors, its own and those of casts before it.

    Then NumPy tells of an overflow in a cast only if it was in the last of the buffers, and so does loomy,
    whose buffers begin elsewhere. Which loops do depends on the CPU.
    """

    def tells(size: int, **options: Any) -> bool:
        operand = np.ones(size)
        operand[2] = 1e300
        with np.errstate(all="raise"):
            call = functools.partial(ufunc, *[operand] * ufunc.nin, casting="unsafe", **options)
            return outcome(call).error is not None

    def differs(options: Callable[[int], dict[str, Any]]) -> bool:
        return tells(10, **options(10)) != tells(20_000, **options(20_000))

    into = differs(lambda size: {"out": tuple(np.zeros(size, "f4") for _ in range(ufunc.nout))})
    return into or differs(lambda size: {"dtype": "f4"})


def compare(pool: AnyPool, draw: Any) -> None:
    ufunc = getattr(np, draw(st.sampled_from(UFUNCS)))
    shape = draw(st.integers(1, 3).flatmap(shapes))
    args: list[Any] = [draw(arrays(shape, draw(st.sampled_from(DTYPES)))) for _ in range(ufunc.nin)]
    if ufunc.nin == 2 and draw(st.booleans()):
        args[draw(st.integers(0, 1))] = draw(SCALARS)
    kwargs: dict[str, Any] = {}
    if draw(st.integers(0, 3)) == 0:
        kwargs["dtype"] = draw(st.sampled_from([None, "f4", "f8", "i8", "D", "?"]))
    if draw(st.integers(0, 3)) == 0:
        kwargs["casting"] = draw(st.sampled_from(["no", "safe", "same_kind", "unsafe"]))
    modes = {
        kind: draw(st.sampled_from(["ignore", "warn", "raise"]))
        for kind in ("divide", "over", "under", "invalid")
    }
    out = draw(st.sampled_from(["none", "none", "fresh", "reversed", "input"]))
    masked = draw(st.booleans()) if out in ("fresh", "reversed") else False

    def call(function: Any) -> Any:
        given = [arg.copy(order="K") if out == "input" and np.ndim(arg) else arg for arg in args]
        options = dict(kwargs)
        if out != "none":
            options["out"] = outputs(given)
        if masked:
            options["where"] = mask
        with np.errstate(**modes):
            return function(*given, **options)

    def outputs(given: list[Any]) -> tuple[Any, ...]:
        if out == "input":
            first: Any = next(arg for arg in given if np.ndim(arg))
            return (first, *[None] * (ufunc.nout - 1))
        made: list[Any] = [np.zeros(whole, dtype=out_dtype) for _ in range(ufunc.nout)]
        return tuple(array[::-1] if out == "reversed" else array for array in made)

    whole = np.broadcast_shapes(*(np.shape(arg) for arg in args))
    out_dtype = draw(st.sampled_from(["f8", "D", "i4", "?", "m8[s]"]))
    mask = np.resize(some_numbers("?"), whole) if masked else None
    types = {np.asarray(arg).dtype for arg in args} | (
        {np.dtype(out_dtype)} if out in ("fresh", "reversed") else set()
    )
    if (len(types) > 1 or kwargs) and forgets_what_casts_raised(ufunc):
        modes = dict.fromkeys(modes, "ignore")
    expected = outcome(lambda: call(ufunc))
    for way in WAYS:
        with sharing(way):
            ours = outcome(lambda: call(lambda *a, **k: share_if_possible(pool, ufunc, *a, **k)))
        assert ours == expected, way


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["cbrt", "exp", "sin"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_vector_math_has_numpys_bits_however_it_lies(pool: AnyPool, way: str, name: str, dtype: str) -> None:
    ufunc = getattr(np, name)
    base = numbers(dtype, 4 * 97 * 97, seed=1)
    wide, square = base.reshape(194, 194), base[: 97 * 97].reshape(97, 97)
    for operand in (wide[::2, ::2], wide[::2, ::2].T, square, square.T, square[::-1, ::-1], square.T[::-1]):

        def call(function: Any, operand: Any = operand) -> Any:
            with np.errstate(all="ignore"):
                return function(operand)

        with sharing(way):
            ours = outcome(lambda call=call: call(lambda a: share_if_possible(pool, ufunc, a)))  # type: ignore[misc]
        assert ours == outcome(lambda call=call: call(ufunc))  # type: ignore[misc]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [np.True_, True, 3, np.int32(3), numbers("i8"), numbers("?")], ids=repr)
@pytest.mark.parametrize("out", [None, "m8[ms]"])
def test_numpy_warns_once_of_numbers_taken_for_times(
    pool: AnyPool, way: str, number: Any, out: str | None
) -> None:
    for one, other in ((numbers(">m8[ms]"), number), (number, numbers("m8[ms]"))):

        def call(function: Any, one: Any = one, other: Any = other) -> Any:
            return function(one, other, **({} if out is None else {"out": np.zeros(LARGE, dtype=out)}))

        with sharing(way):
            ours = outcome(lambda call=call: call(lambda *a, **k: share_if_possible(pool, np.add, *a, **k)))  # type: ignore[misc]
        assert ours == outcome(lambda call=call: call(np.add))  # type: ignore[misc]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("operands", [("?", "D"), ("D", "?"), ("D", "F")])
@pytest.mark.parametrize("out", [None, "f8"])
def test_numpy_warns_once_of_imaginary_parts_that_are_thrown_away(
    pool: AnyPool, way: str, operands: tuple[str, str], out: str | None
) -> None:
    args = [numbers(dtype) for dtype in operands]
    options: dict[str, Any] = {"casting": "unsafe", "dtype": "f8"}

    def call(function: Any) -> Any:
        given = {} if out is None else {"out": (np.zeros(LARGE, dtype=out),)}
        with np.errstate(all="ignore"):
            return function(*args, **options, **given)

    expected = outcome(lambda: call(np.add))
    assert expected.warned, "NumPy warns of it"
    with sharing(way):
        assert outcome(lambda: call(lambda *a, **k: share_if_possible(pool, np.add, *a, **k))) == expected


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scalar", [1e-50, 3e38, np.float64(1e300), 0.5])
@pytest.mark.parametrize("out", [None, "f4", "f8"])
@pytest.mark.parametrize("mode", ["warn", "raise"])
def test_errors_of_casting_a_scalar_are_numpys(
    pool: AnyPool, way: str, scalar: Any, out: str | None, mode: Any
) -> None:
    swapped = numbers("f2").astype(">f2")  # so that pieces are cut, each of which casts the scalar

    def call(function: Any) -> Any:
        given = {} if out is None else {"out": (np.zeros(LARGE, dtype=out),), "casting": "unsafe"}
        with np.errstate(all=mode):
            return function(swapped, scalar, **given)

    expected = outcome(lambda: call(np.hypot))
    with sharing(way):
        assert outcome(lambda: call(lambda *a, **k: share_if_possible(pool, np.hypot, *a, **k))) == expected


def overlapping() -> dict[str, tuple[Any, Any]]:
    """Names and pairs of input and output that have memory in common."""
    base = numbers("f8", 3 * LARGE)
    square = numbers("f8", 300 * 300).reshape(300, 300)
    return {
        "the same": (base, base),
        "shifted": (base[:-1], base[1:]),
        "shifted back": (base[1:], base[:-1]),
        "reversed": (base, base[::-1]),
        "interleaved": (base[::2], base[1::2]),
        "transposed": (square, square.T),
        "one row for all": (square[7], square),
        "an element for all": (square[7, 7:8], square),
        "viewed": (base[: 2 * LARGE].view("f8"), base[1 : 2 * LARGE + 1]),
        "written twice": (base[:LARGE], np.lib.stride_tricks.as_strided(base, (LARGE,), (0,))),
        "other type": (base[:LARGE].view("i8"), base[:LARGE]),
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", overlapping())
def test_overlapping_operands_give_what_numpy_gives(pool: AnyPool, way: str, name: str) -> None:
    given, out = overlapping()[name]
    np.sqrt(np.abs(given), out=out)
    given_too, out_too = overlapping()[name]
    np.sqrt(np.abs(given_too), out=out_too)
    np.add(given, 1.5, out=out, casting="unsafe")
    with sharing(way):
        share_if_possible(pool, np.add, given_too, 1.5, out=out_too, casting="unsafe")
    assert given.tobytes() == given_too.tobytes()
    assert out.tobytes() == out_too.tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_what_reads_and_writes_in_place_is_shared(pool: AnyPool, way: str) -> None:
    given = np.linspace(-9, 9, LARGE)
    expected = np.sin(given)
    with sharing(way):
        assert share(pool, np.sin, given, out=given) is given
    assert given.tobytes() == expected.tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_outputs_are_the_very_arrays_that_were_given(pool: AnyPool, way: str) -> None:
    given = numbers("i4")
    quotients, remainders = np.empty_like(given), np.empty_like(given)
    with sharing(way):
        result = share(pool, np.divmod, given, 7, out=(quotients, remainders))
        half = share(pool, np.divmod, given, 7, out=(None, remainders))
    assert result[0] is quotients
    assert result[1] is remainders
    assert half[1] is remainders
    assert half[0].tobytes() == quotients.tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_the_rounding_of_the_caller_holds_on_every_thread(way: str) -> None:
    import ctypes
    import ctypes.util

    libm = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
    upward = {"x86_64": 0x800, "aarch64": 0x400000}.get(__import__("platform").machine())
    if upward is None:
        pytest.skip("the number of FE_UPWARD on this machine is not known here")
    given = np.linspace(1, 2, 20 * LARGE)
    nearest = np.divide(given, 3.0)
    before = libm.fegetround()
    with sharing(way):
        # A thread begins with the rounding of the one that starts it, so all have to be there before.
        barrier = threading.Barrier(2)
        workers: AnyPool = loomy.Pool(lambda _: barrier.wait(WAIT), size=2, affinity="worker")
        with workers:
            workers.process_batch(range(2))
            try:
                libm.fesetround(upward)
                expected = np.divide(given, 3.0)
                ours = share(workers, np.divide, given, 3.0)
            finally:
                libm.fesetround(before)
            assert share(workers, np.divide, given, 3.0).tobytes() == nearest.tobytes()
    assert expected.tobytes() != nearest.tobytes()
    assert ours.tobytes() == expected.tobytes()


def test_calls_from_many_threads_at_once_are_right(pool: AnyPool) -> None:
    sin = loomy.ufunc(np.sin, pool=pool)
    given = np.linspace(-9, 9, LARGE)
    expected = np.sin(given).tobytes()
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(20):
            if sin(given).tobytes() != expected:
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
