"""What the ufunc tests compare by: everything that NumPy's call and loomy's can differ in."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import pytest

import loomy
from loomy._ufunc import SharedCall, native
from loomy._ufunc.operands import VALUE_BASED

LARGE = 40_000  # elements: items for two threads and more than one piece

LEAST = 4_200  # enough for two items of an inner loop

WAYS = ["loops", "pieces"]  # NumPy's inner loops, and the fallback for a NumPy whose loops are unknown


@contextmanager
def sharing(way: str) -> Iterator[None]:
    with mock.patch.object(native, "is_supported", return_value=way == "loops"):
        yield


@dataclass
class Outcome:
    """What a call did: arrays with their layout, or an error; and its warnings."""

    arrays: list[tuple[Any, ...]]
    error: tuple[type, str] | None
    warned: list[tuple[type, str]]


def outcome(call: Callable[[], Any]) -> Outcome:
    result: Any = ()
    error = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call()
        except Exception as raised:
            error = (type(raised), str(raised))
    results = result if type(result) is tuple else (result,)
    arrays = [] if error else [layout(one) for one in results]
    return Outcome(arrays, error, [(w.category, str(w.message)) for w in caught])


def layout(array: Any) -> tuple[Any, ...]:
    if not isinstance(array, (np.ndarray, np.generic)):
        return type(array), array
    return type(array), array.dtype, array.shape, getattr(array, "strides", None), bits(array)


def bits(array: Any) -> str:
    """A digest of the elements, in C order, without the padding that long doubles have."""
    plain = np.ascontiguousarray(array)
    if plain.dtype.hasobject:
        return repr(plain.tolist())
    if plain.dtype.char in "gG" and np.finfo(plain.dtype).nmant == 63:  # of the 80-bit kind
        plain = plain.astype(plain.dtype.newbyteorder("="))
        plain = plain.reshape(-1).view("u1").reshape(-1, np.dtype("g").itemsize)[:, :10]
    return hashlib.sha256(plain.tobytes()).hexdigest()


def share(pool: loomy.Pool[Any, Any], ufunc: np.ufunc, *args: Any, **kwargs: Any) -> Any:
    """Calls it as loomy.ufunc calls what is large; fails if it is not shared."""
    result = SharedCall(ufunc, pool).call(*args, **kwargs)
    if result is NotImplemented and VALUE_BASED and not all(map(np.ndim, args)):
        pytest.skip("NumPy 1 is left alone with scalars: the types of a call depend on their values")
    if result is NotImplemented:
        pytest.fail("not shared")
    return result


def share_if_possible(pool: loomy.Pool[Any, Any], ufunc: np.ufunc, *args: Any, **kwargs: Any) -> Any:
    """The same for what may be NumPy's to compute, as small calls always are."""
    try:
        large = math.prod(np.broadcast_shapes(*map(np.shape, args[: ufunc.nin]))) > LEAST
    except ValueError:
        large = False
    result = SharedCall(ufunc, pool).call(*args, **kwargs) if large else NotImplemented
    return ufunc(*args, **kwargs) if result is NotImplemented else result


def numbers(dtype: str, count: int = LARGE, seed: int = 0) -> Any:
    """Of all sizes and signs, with zeros, infinities and not-a-numbers where there are any."""
    random = np.random.default_rng(seed)
    wanted = np.dtype(dtype)
    if wanted.kind == "b":
        return random.integers(0, 2, count).astype(bool)
    if wanted.kind in "iu":
        info = np.iinfo(wanted)
        return random.integers(info.min, info.max, count, dtype=wanted, endpoint=True)
    if wanted.kind in "mM":
        return random.integers(-(10**9), 10**9, count).astype(wanted)
    with np.errstate(all="ignore"):
        made = (random.standard_normal(count) * 10.0 ** random.integers(-9, 9, count)).astype(wanted)
        if wanted.kind == "c":
            made = (made + 1j * made[::-1]).astype(wanted)
    made[:: count // 7] = 0
    made[1 :: count // 5] = np.inf
    made[2 :: count // 5] = np.nan
    return made
