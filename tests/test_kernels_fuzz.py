"""Random arguments against NumPy: a right answer, or one of the errors that are due and nothing changed."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import LONG

np: Any = pytest.importorskip("numpy")
pytest.importorskip("hypothesis")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from kernel_fuzz import (  # noqa: E402
    MOST,
    NUMBERS,
    Arrays,
    check,
    examples,
    faults_of,
    new_room,
    options,
    overlap_faults,
    views,
)
from kernel_tools import NO_COMPILER, kernels, plain  # noqa: E402

import loomy  # noqa: E402

pytestmark = [
    pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER)),
    pytest.mark.timeout(3600 if LONG else 120),
]


@examples(200)
@given(data=st.data())
def test_12_declared_arguments_against_numpy(data: Any) -> None:
    room = new_room()
    x = data.draw(views(room, [1, 1, 1, 1, 0, 2]))
    y = data.draw(views(room, [1, 1, 1, 1, 0, 2]))
    if data.draw(st.booleans()) and x.ndim == y.ndim == 1:
        x, y = x[: len(y)], y[: len(x)]
    a, faults = data.draw(st.sampled_from(NUMBERS))
    faults = faults | faults_of(x, "<f8", written=False) | faults_of(y, "<f8", written=True)
    if x.ndim != 1 or y.ndim != 1 or x.shape != y.shape:
        faults.add(ValueError)
    how, wrong = data.draw(options(x.shape[0] if x.ndim else 0))
    faults |= wrong
    if not faults:
        faults = overlap_faults(y, [x], in_place=False)
    n = how.get("n")

    def write(into: Any) -> None:
        into[:n] += float(a) * x[:n]

    check(kernels("native.c").saxpy, data, room, [x, y, a], faults, how, y, write)


@examples(200)
@given(data=st.data())
def test_functions_of_single_elements_against_numpy(data: Any) -> None:
    room = new_room()
    ndims = [data.draw(st.sampled_from([0, 1, 2, 3]))]
    out = data.draw(views(room, ndims))
    faults = faults_of(out, "<f8", written=True)
    inputs: Arrays = []
    for _ in range(2):
        kind = data.draw(st.sampled_from(["number", "huge", "other", "like", "like", "like", "same"]))
        if kind == "number":
            inputs.append(data.draw(st.sampled_from([2.5, -3, True])))
        elif kind == "huge":
            inputs.append(data.draw(st.sampled_from([10**400, -(10**5000), 1j])))
            faults.add(TypeError if inputs[-1] == 1j else ValueError)
        elif kind == "other":
            inputs.append(data.draw(views(room, [*ndims, 1, 2])))
        elif kind == "same":
            inputs.append(out)
        else:  # of the output's shape, somewhere
            like = data.draw(views(room, ndims))
            cut = tuple(slice(0, n) for n in out.shape)
            inputs.append(like[cut] if like.ndim else like)
    arrays = [one for one in inputs if isinstance(one, np.ndarray)]
    for one in arrays:
        faults |= faults_of(one, "<f8", written=False)
        if one.ndim and one.shape != out.shape:
            faults.add(ValueError)
    how, wrong = data.draw(options(out.size))
    if how.get("n") is not None and not wrong:
        how["n"] = out.size  # which elements a part of them is, is not said
    faults |= wrong
    if not faults:
        faults = overlap_faults(out, arrays, in_place=True)

    def write(into: Any) -> None:
        into[...] = np.add(*inputs, dtype=float)

    kernel = loomy.kernel(plain().add, signature="double (double, double)")
    check(kernel, data, room, [*inputs, out], faults, how, out, write)


RANGE = "int (intptr_t, intptr_t, void *)"


@examples(150)
@given(data=st.data())
def test_range_functions_against_numpy(data: Any) -> None:
    """Which get an address: never that of what is no block, and nothing outside of it is written."""
    room = new_room()
    declared = data.draw(st.sampled_from([None, "x:f8[n]!", "x:f8[:]!", "x:f8[n,:]!", "x:f8[n]", "x:f8!"]))
    x = data.draw(views(room, [1, 1, 1, 2, 0]))
    written = declared is None or declared.endswith("!")
    faults = faults_of(x, None if declared is None else "<f8", written=written)
    if not x.flags.c_contiguous and x.size:
        faults.add(ValueError)
    if declared is not None and x.ndim != declared.count(",") + ("[" in declared):
        faults.add(ValueError)
    aligned = x.ctypes.data % 8 == 0
    most = x.nbytes // 8 if aligned and x.flags.writeable else 0
    tells = declared is not None and "n" in declared
    if tells and x.ndim:
        most = min(most, x.shape[0])
    how, wrong = data.draw(options(most))
    faults |= wrong
    if how.get("n") is None and not (tells and x.ndim and x.shape[0] == most):
        how["n"] = most
    n = most if how.get("n") is None else how["n"]

    def write(into: Any) -> None:
        offset = into.ctypes.data - np.frombuffer(into.base, np.uint8).ctypes.data
        np.ndarray(n, float, into.base, offset)[:] = range(n)

    signature = RANGE if declared is None else f"{RANGE}; {declared}"
    if not faults and declared is not None and written:
        faults = overlap_faults(x, [], in_place=False)
    check(loomy.kernel(plain().number_range, signature=signature), data, room, [x], faults, how, x, write)


LOOP = "void (char **, intptr_t *, intptr_t *, void *)"
NUMBERS_OF_LOOPS = ["<f8"] * 6 + [">f8", "S3", "M8[s]"]  # without a signature other numbers pass unchecked


def put(into: Any, n: int, first: Any, second: Any) -> None:
    """The first n products."""
    if n:
        first, second = (one[:n] if np.ndim(one) else one for one in (first, second))
        products = np.broadcast_to(first * second, (n,))
        if into.ndim:
            into[:n] = products
        else:
            into[...] = products[0]


@examples(200)
@given(data=st.data())
def test_numpy_loops_against_numpy(data: Any) -> None:
    room = new_room()
    arguments: Arrays = [data.draw(views(room, [1, 1, 1, 1, 1, 0, 2], NUMBERS_OF_LOOPS)) for _ in range(3)]
    if data.draw(st.integers(0, 3)):
        lengths = [len(one) for one in arguments if one.ndim == 1]
        arguments = [one[: min(lengths)] if one.ndim == 1 else one for one in arguments]
    if data.draw(st.integers(0, 3)) == 0:
        arguments[0] = data.draw(st.sampled_from([2.5, -1e300]))
    out = arguments[2]
    arrays = [one for one in arguments if isinstance(one, np.ndarray)]
    firsts = {one.shape[0] for one in arrays if one.ndim}
    faults = set().union(*(faults_of(one, None, written=one is out) for one in arrays))
    if any(one.dtype.kind == "S" for one in arrays):
        faults.add(TypeError)
    if any(one.ndim > 1 for one in arrays) or len(firsts) > 1:
        faults.add(ValueError)
    most = min(firsts, default=5)
    how, wrong = data.draw(options(most))
    faults |= wrong
    if not firsts and how.get("n") is None:
        faults.add(TypeError)
    total = most if how.get("n") is None else how["n"]
    if not faults and out.ndim == 0 and total > 1:
        faults.add(ValueError)
    if not faults:
        faults = overlap_faults(out, [one for one in arrays if one is not out], in_place=True)

    def write(into: Any) -> None:
        put(into, total, *arguments[:2])

    check(loomy.kernel(plain().multiply_loop, signature=LOOP), data, room, arguments, faults, how, out, write)


@examples(200)
@given(data=st.data())
def test_numpy_loops_with_a_signature_against_numpy(data: Any) -> None:
    room = new_room()
    written = data.draw(st.sampled_from(["f8[n]!", "f8[n]!", "f8[n]!", "f8[m]!", "f8!"]))
    x, out = data.draw(views(room, [1, 1, 1, 1, 0, 2])), data.draw(views(room, [1, 1, 1, 0]))
    if data.draw(st.booleans()) and x.ndim == out.ndim == 1:
        x, out = x[: len(out)], out[: len(x)]
    if data.draw(st.integers(0, 5)) == 0:
        x = out
    a, faults = data.draw(st.sampled_from(NUMBERS))
    faults = faults | faults_of(x, "<f8", written=False) | faults_of(out, "<f8", written=True)
    if x.ndim != 1 or out.ndim != ("[" in written) or ("n" in written and x.shape != out.shape):
        faults.add(ValueError)
    most = x.shape[0] if x.ndim else 0
    how, wrong = data.draw(options(most))
    faults |= wrong
    n = most if how.get("n") is None else how["n"]
    moves = "n" in written
    if not faults and not moves and n > 1:
        faults.add(ValueError)
    if not faults and n == 1 and out.size == 0:
        return  # the function would write what is not there, as its signature says
    if not faults:
        faults = overlap_faults(out, [x], in_place=moves)

    def write(into: Any) -> None:
        put(into, n, x, float(a))

    kernel = loomy.kernel(plain().multiply_loop, signature=f"{LOOP}; x:f8[n] a:f8 {written}")
    check(kernel, data, room, [x, a, out], faults, how, out, write)


@examples(200)
@given(data=st.data())
def test_numpy_loops_over_rows_against_numpy(data: Any) -> None:
    """Each row in reverse; what is read may be what is written, a row of it, or neither."""
    room = new_room()
    of_table = data.draw(st.booleans())
    out = data.draw(views(room, [2, 2, 2, 1]))
    kind = data.draw(st.sampled_from(["same", "row", "like", "other"]))
    x = out if kind in ("same", "row") else data.draw(views(room, [2, 2, 1]))
    if kind == "row" and len(out):
        x = out[0]
    elif kind == "like" and x.ndim == out.ndim:
        cut = tuple(slice(0, min(pair)) for pair in zip(x.shape, out.shape, strict=True))
        x, out = x[cut], out[cut]
    faults = faults_of(x, "<f8", written=False) | faults_of(out, "<f8", written=True)
    shape = out.shape[1:] if of_table else out.shape
    if out.ndim != 2 or x.shape != shape:
        faults.add(ValueError)
    most = out.shape[0] if out.ndim else 0
    how, wrong = data.draw(options(most))
    faults |= wrong
    n = most if how.get("n") is None else how["n"]
    if not faults:
        faults = overlap_faults(out, [x], in_place=False)

    def write(into: Any) -> None:
        into[:n] = x[::-1] if of_table else x[:n, ::-1]

    signature = f"{LOOP}; {'x:f8[k]' if of_table else 'x:f8[n,k]'} f8[n,k]!"
    check(
        loomy.kernel(plain().reverse_loop, signature=signature), data, room, [x, out], faults, how, out, write
    )


@examples(200)
@given(data=st.data())
def test_any_options_are_a_launch_or_an_error(data: Any) -> None:
    how, faults = data.draw(options(MOST))
    if how.get("n") is None and not faults:
        faults.add(TypeError)  # nothing else says how many
    elif not faults and how["n"]:
        faults.add(IndexError)  # of item 0, which stops the others
    check(kernels("native.c").fail, data, bytearray(), [-5, 0, True], faults, how)


SPELLED = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}


@examples(400)
@given(st.text(alphabet="xyn:f8[],c!i 14bu*", max_size=40))
def test_any_text_is_a_signature_or_a_value_error(text: str) -> None:
    try:
        made = loomy.kernel(kernels("native.c").any, signature=text)
    except ValueError:
        return
    assert made.signature == text
    for word in text.replace(", ", ",").split():
        assert word.partition("[")[0].rpartition(":")[2].rstrip("!") in SPELLED or "[" in text


@examples(400)
@given(st.text(alphabet="intdoublevcars *(),[]; ", max_size=40))
def test_any_text_is_a_c_type_or_a_value_error(text: str) -> None:
    from loomy._c_signature import read_declaration

    try:
        abi = read_declaration(text)
    except ValueError:
        return
    assert abi.count("(") == abi.count(")") == 1
