"""Random arguments for kernels: arrays that meet in one block of memory, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import numpy as np
from helpers import examples_for
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from kernel_tools import Tensor

import loomy

Arrays = list[Any]
Faults = set[type[Exception]]

ROOM = 640  # bytes that all arrays of one call lie in, so that they meet
DTYPES = ["<f8"] * 5 + [">f8", "<f4", "<i8", "<c16", "?", "<u1", ">u2", "<f2", "S3", "M8[s]"]
MOST = 2**61  # items, chunks and grain of a launch


def examples(count: int) -> Callable[[Any], Any]:
    """So many; 20,000 with LOOMY_LONG=1."""
    return settings(
        max_examples=examples_for(count, long=20_000),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def new_room() -> bytearray:
    return bytearray(np.random.default_rng(0).integers(0, 20, ROOM, np.uint8).tobytes())


@st.composite
def views(draw: Any, room: bytearray, ndims: Sequence[int], dtypes: Sequence[str] = DTYPES) -> Any:
    """An array somewhere in the room: any dtype, shape, steps, alignment and flags."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
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
    made: Any = np.ndarray(shape, dtype, room, offset, tuple(strides))
    if draw(st.integers(0, 7)) == 0:
        made.flags.writeable = False
    return made


@st.composite
def lent(draw: Any, array: Any) -> Any:
    """The array itself, or what lends the same memory in another way. Numbers, with or without ndim, stay."""
    kind = draw(st.integers(0, 3)) if isinstance(array, np.ndarray) and array.base is not None else 0
    if kind == 1 and array.dtype.kind != "M":
        return memoryview(array)
    if kind == 2 and lends_tensors(array):
        return Tensor(array, old=array.flags.writeable and draw(st.booleans()))
    return array


def lends_tensors(array: Any) -> bool:
    if not array.flags.writeable and np.lib.NumpyVersion(np.__version__) < "2.1.0":
        return False
    try:
        Tensor(array.copy()).__dlpack__()
    except BufferError:
        return False
    return bool(array.dtype.isnative)


def touched(array: Any) -> list[int]:
    """The addresses of its bytes, each as often as it is part of an element."""
    starts = [array.__array_interface__["data"][0]]
    for length, stride in zip(array.shape, array.strides, strict=True):
        starts = [start + k * stride for start in starts for k in range(length)]
    return [start + byte for start in starts for byte in range(array.itemsize)]


def faults_of(array: Any, dtype: str | None, *, written: bool) -> Faults:
    """Of an array where one of that dtype is taken; None: any of numbers, of any alignment."""
    found: Faults = set()
    if array.dtype.kind == "M":
        found |= {TypeError, ValueError, BufferError}  # NumPy does not lend datetimes
    elif array.dtype != np.dtype(dtype) if dtype is not None else not array.dtype.isnative:
        found.add(TypeError)
    if written and not array.flags.writeable:
        found.add(BufferError)
    if dtype is not None and array.size and not array.flags.aligned:
        found.add(ValueError)
    return found


def overlap_faults(output: Any, others: Arrays, *, in_place: bool) -> Faults:
    own = touched(output)
    if len(set(own)) != len(own):
        return {ValueError}
    for other in others:
        its = touched(other)
        same = output.shape == other.shape and own == its
        if not (in_place and same) and not set(own).isdisjoint(its):
            return {ValueError}
    return set()


# Numbers where an f8 is taken, and what is wrong with them.


def each(values: list[Any], *faults: type[Exception]) -> list[tuple[Any, Faults]]:
    return [(value, set(faults)) for value in values]


NUMBERS = [
    *each([2.0, -1, 0, True, np.float32(0.5), np.int8(-3), np.array(2.5), 1e300]),
    *each(["a", 1j, None, np.zeros(1), np.complex64(1), np.complex128(2 + 1j)], TypeError),
    *each([10**400, -(10**400), 10**5000], ValueError),
]


# n, chunks and grain.

EXTREMES = [MOST + 1, 2**63, -(2**63), 2**64, 2**70, -(2**70), 10**400]
NO_INTS = [1.0, "3", b"3", [], 1j, np.zeros(1), np.float64(2)]
CHUNKS: list[Any] = [1, 2, 7, MOST, np.uint8(3), True]
GRAINS: list[Any] = [0, 1, 5, MOST, np.int16(2), False]


@st.composite
def options(draw: Any, most: int) -> tuple[dict[str, Any], Faults]:
    """Options of a launch, of which each is missing, right or wrong. A right `n` is at most `most`."""
    given: dict[str, Any] = {}
    faults: Faults = set()
    numbers: list[Any] = [0, min(1, most), most // 2, most, np.int64(most)]
    for name, least, right in [("n", 0, numbers), ("chunks", 1, CHUNKS), ("grain", 0, GRAINS)]:
        kind = draw(st.integers(0, 9))
        if kind < 5:
            continue
        if kind < 8:
            given[name] = draw(st.sampled_from([None, *right]))
        elif kind == 8:
            given[name] = draw(st.sampled_from([least - 1, *EXTREMES]))
            faults.add(ValueError)
        else:
            given[name] = draw(st.sampled_from(NO_INTS))
            faults.add(TypeError)
    return given, faults


def call(kernel: loomy.Kernel, arguments: Arrays, how: dict[str, Any], *, launch: bool) -> Exception | None:
    try:
        if launch:
            loomy.default_pool().launch(kernel, *arguments, **how).result(20)
        else:
            kernel(*arguments, **how)
    except Exception as error:
        return error
    return None


def check(
    kernel: loomy.Kernel,
    data: Any,
    room: bytearray,
    arguments: Arrays,
    faults: Faults,
    how: dict[str, Any],
    out: Any = None,
    write: Callable[[Any], None] = lambda _: None,
) -> None:
    """Calls it: one of `faults` is raised, or it does to `out` what `write` does; nothing else changes."""
    after = bytearray(room)
    if not faults and out is not None:
        start = np.frombuffer(room, np.uint8).__array_interface__["data"][0]
        where = out.__array_interface__["data"][0] - start
        with np.errstate(all="ignore"):
            write(np.ndarray(out.shape, out.dtype, after, where, out.strides))
    given = [data.draw(lent(one)) for one in arguments]
    error = call(kernel, given, how, launch=data.draw(st.booleans()))
    if faults:
        assert type(error) in faults, f"{error!r} instead of one of {faults}"
    else:
        assert error is None, repr(error)
    assert bytes(room) == bytes(after)  # what is not written is as it was
