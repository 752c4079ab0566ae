"""Random arguments against NumPy: a right answer, or one of the errors that are due and nothing changed."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import LONG

np: Any = pytest.importorskip("numpy")
hypothesis: Any = pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from kernel_tools import NO_COMPILER, kernels, plain  # noqa: E402

import loomy  # noqa: E402

pytestmark = [
    pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER)),
    pytest.mark.timeout(1800 if LONG else 120),
]

fuzz = settings(
    max_examples=20_000 if LONG else 400,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

ROOM = 640  # bytes that all arrays of one call lie in, so that they meet
DTYPES = [
    "<f8",
    "<f8",
    "<f8",
    "<f8",
    "<f8",
    ">f8",
    "<f4",
    "<i8",
    "<c16",
    "?",
    "<u1",
    ">u2",
    "<f2",
    "S3",
    "M8[s]",
]

Arrays = list[Any]


@st.composite
def views(draw: Any, room: bytearray, ndims: list[int]) -> Any:
    """An array somewhere in the room: any dtype, shape, steps, alignment and flags."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    ndim = draw(st.sampled_from(ndims))
    shape = tuple(draw(st.integers(0, 4 if ndim > 1 else 12)) for _ in range(ndim))
    step = [draw(st.sampled_from([1, 1, 1, 2, -1, -2, 3, 0])) for _ in range(ndim)]
    order = draw(st.permutations(range(ndim)))
    strides = [0] * ndim
    size = dtype.itemsize
    for axis in order:  # from the fastest to the slowest dimension
        strides[axis] = size * step[axis]
        size *= max(abs(step[axis]), 1) * max(shape[axis], 1)
    low = sum(min(0, (n - 1) * s) for n, s in zip(shape, strides, strict=True) if n)
    high = sum(max(0, (n - 1) * s) for n, s in zip(shape, strides, strict=True) if n) + dtype.itemsize
    hypothesis.assume(high - low <= ROOM)
    align = 1 if draw(st.integers(0, 9)) == 0 else 8
    offset = draw(st.integers(0, (ROOM - (high - low)) // align)) * align - low
    made = np.ndarray(shape, dtype, room, offset, tuple(strides))
    if draw(st.integers(0, 7)) == 0:
        made.flags.writeable = False
    return made


def as_given(array: Any, kind: int) -> Any:
    """The array itself, or what lends the same memory in another way."""
    if kind == 1 and array.dtype.kind != "M":
        return memoryview(array)
    return array


def touched(array: Any) -> list[int]:
    """The addresses of its bytes, each as often as it is part of an element."""
    starts = [array.__array_interface__["data"][0]]
    for length, stride in zip(array.shape, array.strides, strict=True):
        starts = [start + k * stride for start in starts for k in range(length)]
    return [start + byte for start in starts for byte in range(array.itemsize)]


def faults_of(array: Any, dtype: str, *, written: bool) -> set[type[Exception]]:
    found: set[type[Exception]] = set()
    if array.dtype.kind == "M":
        found |= {TypeError, ValueError, BufferError}  # NumPy does not lend datetimes
    elif array.dtype != np.dtype(dtype):
        found.add(TypeError)
    if written and not array.flags.writeable:
        found.add(BufferError)
    if array.size and not array.flags.aligned:
        found.add(ValueError)
    return found


def overlap_faults(output: Any, others: Arrays, *, in_place: bool) -> set[type[Exception]]:
    own = touched(output)
    if len(set(own)) != len(own):
        return {ValueError}
    for other in others:
        its = touched(other)
        same = output.shape == other.shape and own == its
        if not (in_place and same) and not set(own).isdisjoint(its):
            return {ValueError}
    return set()


def call(kernel: loomy.Kernel, arguments: Arrays, *, launch: bool) -> Exception | None:
    try:
        if launch:
            loomy.default_pool().launch(kernel, *arguments).result(20)
        else:
            kernel(*arguments)
    except (TypeError, ValueError, BufferError) as error:
        return error
    return None


@fuzz
@given(data=st.data())
def test_declared_arguments_against_numpy(data: Any) -> None:
    room = bytearray(np.random.default_rng(0).integers(0, 20, ROOM, np.uint8).tobytes())
    x = data.draw(views(room, [1, 1, 1, 1, 0, 2]))
    y = data.draw(views(room, [1, 1, 1, 1, 0, 2]))
    if data.draw(st.booleans()) and x.ndim == y.ndim == 1:
        x, y = x[: len(y)], y[: len(x)]
    a = data.draw(st.sampled_from([2.0, -1, 0, "a", 1j, None, np.float32(0.5), np.zeros(1)]))
    faults = faults_of(x, "<f8", written=False) | faults_of(y, "<f8", written=True)
    if x.ndim != 1 or y.ndim != 1 or x.shape != y.shape:
        faults.add(ValueError)
    if not isinstance(a, int | float | np.float32):
        faults.add(TypeError)
    if not faults:
        faults = overlap_faults(y, [x], in_place=False)
    expected = y if faults else y + a * x
    kinds = [data.draw(st.integers(0, 3)) for _ in range(2)]
    check(
        kernels("native.c").saxpy,
        data,
        room,
        y,
        expected,
        faults,
        [as_given(x, kinds[0]), as_given(y, kinds[1]), a],
    )


def check(
    kernel: loomy.Kernel, data: Any, room: bytearray, out: Any, expected: Any, faults: Any, arguments: Arrays
) -> None:
    before = bytes(room)
    if not faults:
        after = bytearray(room)
        start = np.frombuffer(room, np.uint8).__array_interface__["data"][0]
        where = out.__array_interface__["data"][0] - start
        np.ndarray(out.shape, out.dtype, after, where, out.strides)[...] = expected
    else:
        after = bytearray(before)
    error = call(kernel, arguments, launch=data.draw(st.booleans()))
    if faults:
        assert type(error) in faults, f"{error!r} instead of one of {faults}"
    else:
        assert error is None, error
    assert bytes(room) == bytes(after)  # what is not written is as it was


@fuzz
@given(data=st.data())
def test_functions_of_single_elements_against_numpy(data: Any) -> None:
    room = bytearray(np.random.default_rng(1).integers(0, 20, ROOM, np.uint8).tobytes())
    ndims = [data.draw(st.sampled_from([0, 1, 2, 3]))]
    out = data.draw(views(room, ndims))
    inputs: Arrays = []
    for _ in range(2):
        kind = data.draw(st.sampled_from(["number", "other", "like", "like", "same"]))
        if kind == "number":
            inputs.append(data.draw(st.sampled_from([2.5, -3, True])))
        elif kind == "other":
            inputs.append(data.draw(views(room, [*ndims, 1, 2])))
        elif kind == "same":
            inputs.append(out)
        else:  # of the output's shape, somewhere
            like = data.draw(views(room, ndims))
            cut = tuple(slice(0, n) for n in out.shape)
            inputs.append(like[cut] if like.ndim else like)
    arrays = [one for one in inputs if isinstance(one, np.ndarray)]
    faults = faults_of(out, "<f8", written=True)
    for one in arrays:
        faults |= faults_of(one, "<f8", written=False)
        if one.ndim and one.shape != out.shape:
            faults.add(ValueError)
    if not faults:
        faults = overlap_faults(out, arrays, in_place=True)
    kernel = loomy.kernel(plain().add, signature="double (double, double)")
    expected = out if faults else np.add(*inputs, dtype=float)
    check(kernel, data, room, out, expected, faults, [*inputs, out])


SPELLED = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}


@fuzz
@given(st.text(alphabet="xyn:f8[],c!i 14bu*", max_size=40))
def test_any_text_is_a_signature_or_a_value_error(text: str) -> None:
    try:
        made = loomy.kernel(kernels("native.c").any, signature=text)
    except ValueError:
        return
    assert made.signature == text
    for word in text.replace(", ", ",").split():
        assert word.partition("[")[0].rpartition(":")[2].rstrip("!") in SPELLED or "[" in text


@fuzz
@given(st.text(alphabet="intdoublevcars *(),[]; ", max_size=40))
def test_any_text_is_a_c_type_or_a_value_error(text: str) -> None:
    from loomy._c_signature import read_declaration

    try:
        abi = read_declaration(text)
    except ValueError:
        return
    assert abi.count("(") == abi.count(")") == 1
