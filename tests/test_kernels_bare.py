"""What functions that know nothing of loomy are given: what they could not use without harm is refused."""

from __future__ import annotations

from typing import Any

import pytest

np: Any = pytest.importorskip("numpy")

from kernel_tools import NO_COMPILER, plain  # noqa: E402

import loomy  # noqa: E402

pytestmark = pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER))

LOOP = "void (char **, intptr_t *, intptr_t *, void *)"
RANGE = "int (intptr_t, intptr_t, void *)"


# Range functions, which get an address and no strides.


@pytest.mark.parametrize("arguments", ["x:f8[n]!", "f8[n]!", "f8[:]!"])
def test_12_a_range_function_with_a_signature_takes_one_block(arguments: str) -> None:
    kernel = loomy.kernel(plain().number_range, signature=f"{RANGE}; {arguments}", name="number")
    room = np.full(64, -1.0)
    named = "'x'" if ":f8" in arguments else "1"
    for view in (room[20:24][::-1], room[::2], room[40:20:-3]):
        with pytest.raises(
            ValueError, match=f"kernel 'number': argument {named} must be one block of memory"
        ):
            kernel(view, n=len(view))
    assert (room == -1).all()
    kernel(room[20:24], n=4)
    assert (room[20:24] == np.arange(4)).all()
    assert (np.delete(room, slice(20, 24)) == -1).all()


def test_a_range_function_takes_rows_of_one_block() -> None:
    kernel = loomy.kernel(plain().number_range, signature=f"{RANGE}; x:f8[n,:]!")
    room = np.full((4, 4), -1.0)
    for view in (room[:, :2], room.T[:2], room[::2]):
        with pytest.raises(ValueError, match="argument 'x' must be one block of memory"):
            kernel(view)
    assert (room == -1).all()
    kernel(room[1:3])  # items are rows, of which this function does not know
    assert room[1].tolist() == [0, 1, -1, -1]


# NumPy loops, of which each chunk is a call.


@pytest.mark.parametrize(
    ("arguments", "shape"), [("", ()), ("; x:f8[n] y:f8!", ()), ("; x:f8[n] y:f8[m]!", (3,))]
)
def test_what_a_loop_writes_moves_with_its_items(arguments: str, shape: tuple[int, ...]) -> None:
    """The chunks of another would write the same elements at the same time."""
    kernel = loomy.kernel(plain().copy_loop, signature=LOOP + arguments, name="copy")
    out = np.full(shape, -1.0)
    named = "'y'" if arguments else "2"
    for options in ({}, {"chunks": 1}):
        with pytest.raises(
            ValueError, match=f"kernel 'copy': argument {named} is written to, but has no dim"
        ):
            kernel(np.arange(5.0), out, **options)
    assert (out == -1).all()
    kernel(np.arange(5.0)[:0], out)
    assert (out == -1).all()
    kernel(np.arange(5.0), out, n=1)
    assert out.flat[0] == 0


@pytest.mark.parametrize("dtype", [object, "f8,O", "S8"])
def test_a_loop_without_a_signature_takes_numbers_only(dtype: Any) -> None:
    kernel = loomy.kernel(plain().copy_loop, signature=LOOP, name="copy")
    numbers, others = np.arange(5.0), np.zeros(5, dtype)
    for at, arguments in [(1, (others, numbers)), (2, (numbers, others))]:
        with pytest.raises(
            TypeError, match=f"kernel 'copy': argument {at} has structured or opaque elements"
        ):
            kernel(*arguments)
    assert (numbers == np.arange(5.0)).all()
    assert (others == np.zeros(5, dtype)).all()
