"""NumPy's inner loops, without the GIL.

NumPy documents them (`ufunc._get_strided_loop`) and calls the interface unstable. So it is used with versions
whose capsule has the name that loomy knows, and only after it was seen to work.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from loomy import _loomy
from loomy._ufunc import errstate
from loomy._ufunc.operands import Array, Operands, get_strided_loop, iterate, loop_inputs, resolve_loop

if TYPE_CHECKING:
    from collections.abc import Sequence


@functools.cache
def has_known_layout() -> bool:
    """Whether array objects look in memory as loomy thinks, which everything else relies on."""
    array = np.zeros((3, 5, 7), dtype="i2")[:, ::-1, 2:]
    return _loomy._array_layout(array) == (array.ctypes.data, array.shape, array.strides)


@functools.cache
def is_supported() -> bool:
    """Whether this NumPy's loops are where loomy looks for them, and do what they should."""
    if np.lib.NumpyVersion(np.__version__).major >= 3:  # also what is released before 3.0.0
        return False
    try:
        return all(check() for check in (computes, tells_flags, tells_errors))
    except Exception:
        return False


def run_here(ufunc: np.ufunc, *operands: Array) -> int | None:
    _, call_info = resolve_loop(ufunc, tuple(operand.dtype for operand in operands))
    get_strided_loop(ufunc, call_info, operands)
    return _loomy._run_ufunc_loop(None, call_info, operands)


def computes() -> bool:
    given, made = np.arange(6, dtype="i4").reshape(2, 3), np.zeros((2, 6), dtype="i4")[:, ::2]
    return run_here(np.negative, given, made) == 0 and bool((made == [[0, -1, -2], [-3, -4, -5]]).all())


def tells_flags() -> bool:
    ones, zeros, made = np.ones(3), np.zeros(3), np.empty(3)
    return run_here(np.divide, ones, zeros, made) == errstate.DIVIDE and bool(np.isinf(made).all())


def tells_errors() -> bool:
    twos, exponents, made = np.full(3, 2), np.full(3, -1), np.empty(3, dtype=int)
    try:
        run_here(np.power, twos, exponents, made)
    except ValueError:
        return True
    return False


def run(operands: Operands, pool: _loomy.PoolBase[Any, Any]) -> Any:
    try:
        inputs = loop_inputs(operands)
        iterator = iterate((*inputs, *operands.outputs), len(inputs), operands.dtypes, casting="no")
        views = iterator.itviews
    except Exception:
        return NotImplemented  # shapes that do not fit, numbers that do not: NumPy will say it
    ufunc = operands.ufunc
    get_strided_loop(ufunc, operands.call_info, views)
    flags = _loomy._run_ufunc_loop(pool, operands.call_info, views)
    if flags is None:
        return NotImplemented
    if flags:
        errstate.report(ufunc.__name__, flags)
    return operands.result(given_or_made(operands.outputs, iterator.operands[len(inputs) :]))


def given_or_made(given: Sequence[Array | None], made: Sequence[Array]) -> tuple[Array, ...]:
    return tuple(m if g is None else g for g, m in zip(given, made, strict=True))
