"""What a kernel is given is checked before anything starts, and the error names the argument."""

from __future__ import annotations

import array
import ctypes
import struct
from typing import Any

import pytest
from helpers import WAIT, identity

np: Any = pytest.importorskip("numpy")

from kernel_tools import NO_COMPILER, Tensor, kernels  # noqa: E402

import loomy  # noqa: E402
from loomy import Pool  # noqa: E402

pytestmark = pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER))

N = 12


@pytest.fixture
def saxpy() -> loomy.Kernel:
    return kernels("native.c").saxpy


@pytest.fixture
def stencil() -> loomy.Kernel:
    return kernels("native.c").stencil


def read_only(x: Any) -> Any:
    x.flags.writeable = False
    return x


def misaligned(count: int) -> Any:
    return np.frombuffer(bytearray(8 * count + 1), np.uint8)[1:].view(np.float64)


def x_is(kind: str) -> Any:
    x = np.arange(float(N))
    return {
        "strided": np.repeat(x, 3)[::3],
        "negative stride": x[::-1].copy()[::-1],
        "column": np.tile(x[:, None], (1, 4))[:, 2],
        "broadcast": np.broadcast_to(np.float64(7), (N,)),
        "read-only": read_only(x.copy()),
        "array.array": array.array("d", x),
        "memoryview": memoryview(x),
        "ctypes": (ctypes.c_double * N)(*x),
        "bytes cast": memoryview(x.tobytes()).cast("d"),
        "little-endian by name": x.astype("<f8"),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "strided",
        "negative stride",
        "column",
        "broadcast",
        "read-only",
        "array.array",
        "memoryview",
        "ctypes",
        "bytes cast",
        "little-endian by name",
    ],
)
def test_12_what_is_read_may_lie_anyhow(saxpy: loomy.Kernel, kind: str) -> None:
    x, y = x_is(kind), np.ones(N)
    saxpy(x, y, 2.0)
    assert y.tolist() == (1 + 2 * np.asarray(x)).tolist()


def test_12_what_is_written_may_be_strided_and_mirrored(saxpy: loomy.Kernel) -> None:
    whole = np.zeros((N, 3))
    saxpy(np.arange(float(N)), whole[::-1, 1], 1.0)
    assert whole[:, 1].tolist() == [float(i) for i in reversed(range(N))]
    assert (whole[:, [0, 2]] == 0).all()


def test_12_zero_length_arrays_are_fine(saxpy: loomy.Kernel) -> None:
    saxpy(np.zeros(0), np.zeros(0), 1.0)
    saxpy(np.zeros((0, 5))[:, 2], np.zeros(0), 1.0)


def test_12_fortran_order_is_fine_where_the_kernel_minds_strides(stencil: loomy.Kernel) -> None:
    before = np.random.default_rng(0).random((30, 20))
    expected, fortran = np.zeros((30, 20)), np.zeros((30, 20), order="F")
    stencil(before, expected)
    stencil(np.asfortranarray(before), fortran)
    assert (expected == fortran).all()
    assert expected.any()


def test_12_fortran_order_is_refused_where_c_order_is_asked_for() -> None:
    kernel = loomy.kernel(kernels("native.c").stencil, signature="from:f8[n,w]c to:f8[n,w]!")
    with pytest.raises(ValueError, match=r"argument 'from' must be C-contiguous"):
        kernel(np.zeros((5, 6), order="F"), np.zeros((5, 6)))
    kernel(np.zeros((5, 6)), np.zeros((5, 6), order="F"))


Y = np.zeros(N)
X = np.arange(float(N))

WRONG: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    ("too few", (X, Y), TypeError, r"takes 3 arguments, got 2"),
    ("too many", (X, Y, 1.0, 2.0), TypeError, r"takes 3 arguments, got 4"),
    ("no array", ([1.0] * N, Y, 1.0), TypeError, r"argument 'x' must be an array"),
    ("a number for an array", (1.0, Y, 1.0), TypeError, r"argument 'x' must be an array"),
    ("None", (None, Y, 1.0), TypeError, r"argument 'x' must be an array.*NoneType"),
    ("f4", (X.astype("f4"), Y, 1.0), TypeError, r"argument 'x' has elements of f4 .* f8"),
    ("i8", (X.astype("i8"), Y, 1.0), TypeError, r"argument 'x' has elements of i8"),
    ("c16", (X.astype("c16"), Y, 1.0), TypeError, r"argument 'x' has elements of c16"),
    ("bytes", (X.tobytes(), Y, 1.0), TypeError, r"argument 'x' has elements of u1"),
    ("struct", (np.zeros(N, "f8,f8"), Y, 1.0), TypeError, r"argument 'x' has .*structured"),
    ("long double", (X.astype(np.longdouble), Y, 1.0), TypeError, r"argument 'x' has elements of f16"),
    ("big-endian", (X.astype(">f8"), Y, 1.0), TypeError, r"argument 'x' has the byte order of other"),
    ("2-D", (X.reshape(3, 4), Y, 1.0), ValueError, r"argument 'x' has 2 dimensions where the kernel takes 1"),
    ("0-D", (np.float64(1), Y, 1.0), ValueError, r"argument 'x' has 0 dimensions"),
    ("shorter", (X[:5], Y, 1.0), ValueError, r"argument 'y' has length 12 .* argument 'x' has 5"),
    ("empty", (X[:0], Y, 1.0), ValueError, r"argument 'y' has length 12 .* argument 'x' has 0"),
    ("misaligned", (misaligned(N), Y, 1.0), ValueError, r"argument 'x' is misaligned"),
    ("misaligned output", (X, misaligned(N), 1.0), ValueError, r"argument 'y' is misaligned"),
    (
        "read-only output",
        (X, read_only(Y.copy()), 1.0),
        BufferError,
        r"argument 'y' is written to.*read-only",
    ),
    ("bytes output", (X, memoryview(X.tobytes()).cast("d"), 1.0), BufferError, r"argument 'y' is written to"),
    ("broadcast output", (X, np.broadcast_to(1.0, N), 1.0), BufferError, r"argument 'y' is written to"),
    ("in place", (Y, Y, 1.0), ValueError, r"argument 'y' is written to, but shares memory with argument 'x'"),
    ("a str", (X, Y, "1"), TypeError, r"argument 'a' must be real number, not str"),
    ("an array for a number", (X, Y, X), TypeError, r"argument 'a' must be a number, not an array"),
    ("one element for a number", (X, Y, X[:1]), TypeError, r"argument 'a' must be a number, not an array"),
    ("complex", (X, Y, 1j), TypeError, r"argument 'a'"),
]


@pytest.mark.parametrize(
    ("arguments", "error", "message"), [row[1:] for row in WRONG], ids=[r[0] for r in WRONG]
)
def test_12_wrong_arguments_start_nothing(
    saxpy: loomy.Kernel, arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=r"kernel 'saxpy'.*" + message):
        saxpy(*arguments)
    with Pool(identity, size=1) as pool:
        with pytest.raises(error, match=message):
            pool.launch(saxpy, *arguments)
        assert pool.stats().submitted == 0
    assert not Y.any()


@pytest.mark.parametrize("value", [2, 2.0, True, np.float64(2), np.float32(2), np.int8(2), np.array(2.0)])
def test_numbers_of_all_kinds_are_numbers(saxpy: loomy.Kernel, value: Any) -> None:
    y = np.zeros(3)
    saxpy(np.ones(3), y, value)
    assert y.tolist() == [float(value)] * 3


@pytest.mark.parametrize(
    ("dtype", "fits", "too_much"),
    [
        ("i1", [-128, 127], [-129, 128]),
        ("i2", [-(2**15)], [2**15]),
        ("i4", [2**31 - 1], [2**31]),
        ("i8", [-(2**63), 2**63 - 1], [2**63, -(2**63) - 1, 10**30]),
        ("u1", [0, 255], [-1, 256]),
        ("u2", [2**16 - 1], [2**16]),
        ("u4", [2**32 - 1], [2**32]),
        ("u8", [2**64 - 1], [2**64, -1]),
        ("f2", [1.5, -65504.0], [1e6]),
    ],
)
def test_numbers_must_fit(dtype: str, fits: list[Any], too_much: list[Any]) -> None:
    kernel = loomy.kernel(kernels("native.c").any, signature=f"value:{dtype} seen:i8[1]!")
    seen = np.zeros(1, np.int64)
    for value in fits:
        kernel(value, seen, n=1)
    assert seen[0] == len(fits)
    for value in too_much:
        with pytest.raises(ValueError, match=f"argument 'value' .* does not fit into {dtype}"):
            kernel(value, seen, n=1)
    with pytest.raises(TypeError, match="argument 'value'"):
        kernel("1", seen, n=1)


def test_integers_take_no_floats_and_bools_no_integers() -> None:
    seen = np.zeros(1, np.int64)
    whole = loomy.kernel(kernels("native.c").any, signature="value:i4 seen:i8[1]!")
    truth = loomy.kernel(kernels("native.c").any, signature="value:b1 seen:i8[1]!")
    for kernel, wrong in ((whole, 1.0), (truth, 1), (truth, "yes"), (truth, None)):
        with pytest.raises(TypeError, match="argument 'value'"):
            kernel(wrong, seen, n=1)
    for kernel, right in ((whole, np.int64(3)), (truth, True), (truth, np.bool_(False))):
        kernel(right, seen, n=1)
    assert seen[0] == 3


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *[("i1", -3), ("i2", -300), ("i4", -70_000), ("i8", -(2**40)), ("u1", 200), ("u2", 60_000)],
        *[("u4", 2**32 - 1), ("u8", 2**64 - 1), ("f2", -0.25), ("f4", 1.5), ("f8", 0.1), ("b1", True)],
        *[("c8", 1 + 2j), ("c16", 0.1 - 4j)],
    ],
)
def test_numbers_arrive_as_they_were_sent(dtype: str, value: Any) -> None:
    kernel = loomy.kernel(kernels("native.c").bits, signature=f"value:{dtype} out:u1[16]!")
    out = np.zeros(16, np.uint8)
    kernel(value, out, n=1)
    expected = np.dtype("?" if dtype == "b1" else dtype).type(value).tobytes()
    assert out.tobytes()[: len(expected)] == expected


def test_lengths_are_compared_by_name_number_and_not_at_all() -> None:
    any_ = kernels("native.c").any
    kernel = loomy.kernel(any_, signature="a:f8[m,k] b:f8[k,m] c:u1[3] d:u1[:] seen:i8[1]!")
    seen = np.zeros(1, np.int64)
    good: list[Any] = [np.zeros((2, 5)), np.zeros((5, 2)), np.zeros(3, "u1"), np.zeros(9, "u1"), seen]
    kernel(*good, n=7)
    assert seen[0] == 7
    for at, wrong, message in [
        (
            1,
            np.zeros((5, 3)),
            r"argument 'b' has length 3 in dimension 1, but argument 'a' has 2 \(both are 'm'\)",
        ),
        (
            1,
            np.zeros((4, 2)),
            r"argument 'b' has length 4 in dimension 0, but argument 'a' has 5 \(both are 'k'\)",
        ),
        (2, np.zeros(4, "u1"), r"argument 'c' has length 4 in dimension 0 where the kernel takes 3"),
        (3, np.zeros((1, 1), "u1"), r"argument 'd' has 2 dimensions"),
    ]:
        with pytest.raises(ValueError, match=message):
            kernel(*good[:at], wrong, *good[at + 1 :], n=7)
    with pytest.raises(TypeError, match="needs n="):
        kernel(*good)


def test_n_that_is_more_than_there_is_is_refused(saxpy: loomy.Kernel) -> None:
    with pytest.raises(ValueError, match="n=13 is more than the arguments have, which is 12"):
        saxpy(X, Y.copy(), 1.0, n=13)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x:f9[n]", "a dtype"),
        ("x:", "a dtype"),
        ("x:f8[n", "']' or ','"),
        ("x:f8[]", "a dimension"),
        ("x:f8[n,]", "a dimension"),
        ("x:f8[n]?", "a blank between arguments"),
        ("x:f8[n]!c", "a blank between arguments"),
        ("1x:f8", "the name of an argument"),
        (":f8", "the name of an argument"),
        ("x:f8[-1]", "a dimension"),
        ("x:f8[99999999999999999999]", "a length that fits"),
        (" ".join(["f8"] * 65), "64 are the most"),
        ("f8[" + ",".join(":" * 17) + "]", "16 are the most"),
    ],
)
def test_a_signature_that_cannot_be_read_says_where(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=r"kernel 'saxpy'.*expected ") as caught:
        loomy.kernel(kernels("native.c").saxpy, signature=text)
    assert fault in str(caught.value)


def test_arguments_without_names_are_counted() -> None:
    kernel = loomy.kernel(kernels("native.c").saxpy, signature=" f8[n]  f8[n]! f8 ", name="mine")
    with pytest.raises(
        TypeError, match=r"kernel 'mine': argument 2 has elements of i8 where the kernel takes f8"
    ):
        kernel(X, np.zeros(N, "i8"), 1.0)


def test_without_a_signature_a_kernel_gets_what_it_is_given() -> None:
    any_ = kernels("native.c").any
    seen = np.zeros(5, np.int64)
    any_(1, 2.0, True, 1j, X[:5], np.float32(1), seen)
    assert seen[0] == 5
    with pytest.raises(TypeError, match="the last argument must be a writable i8"):
        any_(read_only(np.zeros(5, np.int64)))
    with pytest.raises(ValueError, match=r"argument 2 has length 5, but argument 1 has 12.*n=\.\.\."):
        any_(X, seen)
    any_(X, seen, n=3)
    assert seen[0] == 8
    with pytest.raises(TypeError, match="needs n="):
        any_()
    any_(n=5)


@pytest.mark.parametrize("old", [True, False])
def test_dlpack_tensors_are_arrays(saxpy: loomy.Kernel, old: bool) -> None:
    y = np.zeros((N, 2))
    saxpy(Tensor(X[::-1], old=old), Tensor(y[:, 1], old=old), 1.0)
    assert y[:, 1].tolist() == X[::-1].tolist()
    assert not y[:, 0].any()


def test_dlpack_tensors_are_checked_as_well(saxpy: loomy.Kernel) -> None:
    with pytest.raises(TypeError, match="argument 'x' has elements of f4"):
        saxpy(Tensor(X.astype("f4")), Y.copy(), 1.0)
    with pytest.raises(BufferError, match=r"argument 'x' is on a device \(DLPack device type 2\)"):
        saxpy(Tensor(X, (2, 0)), Y.copy(), 1.0)
    y = np.zeros(N)
    with pytest.raises(ValueError, match="argument 'y' is written to, but shares memory with argument 'x'"):
        saxpy(y, Tensor(y), 1.0)
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
        with pytest.raises(BufferError, match="argument 'y' is written to, but it is read-only"):
            saxpy(X, Tensor(read_only(np.zeros(N))), 1.0)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("raises", RuntimeError),
        ("no capsule", BufferError),
        ("no device", AttributeError),
        ("odd device", BufferError),
    ],
)
def test_dlpack_that_is_broken_is_an_error(saxpy: loomy.Kernel, kind: str, error: type[Exception]) -> None:
    class Broken:
        def __dlpack__(self, **_: Any) -> Any:
            if kind == "raises":
                raise RuntimeError("broken")
            return 5

    if kind != "no device":
        Broken.__dlpack_device__ = lambda self: () if kind == "odd device" else (1, 0)  # type: ignore[attr-defined]
    with pytest.raises(error):
        saxpy(Broken(), Y.copy(), 1.0)


OVERLAPS = [
    ("the same", lambda a: (a[:8], a[:8]), True),
    ("shifted", lambda a: (a[:8], a[4:12]), True),
    ("side by side", lambda a: (a[:8], a[8:16]), False),
    ("even and odd", lambda a: (a[::2], a[1::2]), False),
    ("thirds and halves", lambda a: (a[::3][:5], a[1::2][:5]), True),
    ("mirrored", lambda a: (a[:8], a[:8][::-1]), True),
    ("mirrored even and odd", lambda a: (a[::2], a[::-1][::2]), False),
]


@pytest.mark.parametrize(
    ("views", "overlap"), [row[1:] for row in OVERLAPS], ids=[row[0] for row in OVERLAPS]
)
def test_written_memory_is_nobody_elses(saxpy: loomy.Kernel, views: Any, overlap: bool) -> None:
    x, y = views(np.arange(16.0))
    assert np.shares_memory(x, y) == overlap
    if overlap:
        with pytest.raises(ValueError, match="shares memory"):
            saxpy(x, y, 1.0)
    else:
        expected = y + x
        saxpy(x, y, 1.0)
        assert (y == expected).all()


def test_columns_of_one_array_do_not_overlap(stencil: loomy.Kernel) -> None:
    whole = np.zeros((50, 40))
    stencil(whole[:, :20], whole[:, 20:])
    with pytest.raises(ValueError, match="shares memory"):
        stencil(whole[:, :21], whole[:, 19:])


def test_elements_that_share_memory_cannot_be_written(saxpy: loomy.Kernel) -> None:
    windows = np.lib.stride_tricks.sliding_window_view(np.zeros(N + 1), 2, writeable=True)
    stacked = np.lib.stride_tricks.as_strided(np.zeros(1), (N,), (0,))
    with pytest.raises(ValueError, match="some of its elements share memory"):
        saxpy(X, stacked, 1.0)
    kernel = loomy.kernel(kernels("native.c").any, signature="w:f8[n,:]! seen:i8[1]!")
    with pytest.raises(ValueError, match="argument 'w' is written to, but some of its elements share memory"):
        kernel(windows, np.zeros(1, np.int64))


def test_a_released_memoryview_is_an_error(saxpy: loomy.Kernel) -> None:
    view = memoryview(X.copy())
    view.release()
    with pytest.raises(ValueError, match=r"argument 'x' .*released"):
        saxpy(view, Y.copy(), 1.0)


def test_elements_of_a_size_nobody_has_are_refused(saxpy: loomy.Kernel) -> None:
    assert struct.calcsize("d") == 8
    with pytest.raises(TypeError, match="argument 'x'"):
        saxpy(np.zeros(N, "S7"), Y.copy(), 1.0)
    with Pool(identity, size=1) as pool:
        y = np.zeros(N)
        pool.launch(saxpy, X, y, 1.0).result(WAIT)
        assert (y == X).all()


def test_12_a_number_that_is_written_is_an_array_without_dimensions() -> None:
    kernel = loomy.kernel(kernels("native.c").any, signature="seen:i8!")
    seen = np.zeros((), np.int64)
    kernel(seen, n=5)
    assert seen == 5
    for wrong, error, message in [
        (5, TypeError, "must be an array"),
        (np.int64(5), BufferError, "is written to, but it is read-only"),
        (np.zeros(1, np.int64), ValueError, "has 1 dimension where the kernel takes 0"),
    ]:
        with pytest.raises(error, match=f"argument 'seen' {message}"):
            kernel(wrong, n=5)


def test_no_arguments_is_a_signature_too() -> None:
    kernel = loomy.kernel(kernels("native.c").any, signature="")
    kernel(n=3)
    with pytest.raises(TypeError, match="takes 0 arguments, got 1"):
        kernel(X, n=3)
