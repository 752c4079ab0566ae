"""The ufunc itself, called by several threads on slices of its operands; NumPy lets go of the GIL inside.

For what an inner loop does not do: casting, alignment, byte order, `where=`; and for a NumPy whose loops
loomy does not know.
"""

from __future__ import annotations

import contextvars
import functools
import math
import threading
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from loomy import _loomy
from loomy._ufunc import errstate
from loomy._ufunc.operands import Array, Operands, iterate, loop_inputs

Slices: TypeAlias = tuple[Any, ...]

PIECES_PER_THREAD = 4  # so that one that is slow is made up for

# A multiple of NumPy's buffers, which are filled and cast from the beginning of each piece.
LEAST_ELEMENTS = 16_384


def run(operands: Operands, pool: _loomy.PoolBase[Any, Any]) -> Any:
    try:
        outputs = make_outputs(operands)
    except Exception:
        return NotImplemented  # the call will raise it too
    flags = Flags()
    context = contextvars.copy_context()  # has the buffer size, and what the user's own loops may look for
    pieces = tuple(
        functools.partial(context.copy().run, flags.collect, operands, *slices)
        for slices in cut(operands.inputs, outputs, operands.where, pool.size * PIECES_PER_THREAD)
    )
    if len(pieces) < 2 or not _loomy._run_ufunc_pieces(pool, pieces):
        return NotImplemented
    if flags.raised:
        errstate.report(operands.ufunc.__name__, flags.raised)
    return operands.result(outputs)


class Flags:
    """The floating-point flags of all pieces."""

    def __init__(self) -> None:
        self.raised = 0
        self.lock = threading.Lock()

    def collect(self, call: Operands, inputs: Slices, outputs: Slices, where: Array | bool) -> None:
        with np.errstate(all="call", call=self.add):
            call.ufunc(*inputs, out=outputs, where=where, **call.options)

    def add(self, _: str, flags: int) -> None:
        with self.lock:
            self.raised |= flags


def make_outputs(operands: Operands) -> tuple[Array, ...]:
    """The outputs that were not given, laid out as NumPy would: its iterator makes them."""
    arrays = loop_inputs(operands)
    given = operands.outputs
    iterator = iterate((*arrays, *given), len(arrays), operands.dtypes, casting="unsafe")
    made = iterator.operands[len(arrays) :]
    return tuple(m if g is None else g for g, m in zip(given, made, strict=True))


def cut(
    inputs: Slices, outputs: tuple[Array, ...], where: Array | None, wanted: int
) -> Iterator[tuple[Slices, Slices, Array | bool]]:
    """About `wanted` pieces of a call: its inputs, outputs and mask."""
    operands = (*inputs, *outputs, True if where is None else where)
    operands = flattened(operands) or operands
    shape = operands[len(inputs)].shape
    axis = axis_to_cut(operands[len(inputs)], wanted)
    least = -(-LEAST_ELEMENTS * shape[axis] // math.prod(shape))
    step = max(-(-shape[axis] // wanted), least)
    if len(shape) == 1:
        step = -(-step // LEAST_ELEMENTS) * LEAST_ELEMENTS
    for begin in range(0, shape[axis], step):
        part = tuple(take(operand, len(shape), axis, slice(begin, begin + step)) for operand in operands)
        yield part[: len(inputs)], part[len(inputs) : -1], part[-1]


def flattened(operands: Slices) -> Slices | None:
    """The same elements as one row, if all arrays have them in the same order without gaps."""
    arrays = [operand for operand in operands if np.ndim(operand)]
    if any(array.shape != arrays[0].shape for array in arrays):
        return None
    if all(array.flags.c_contiguous for array in arrays):
        return tuple(operand.reshape(-1) if np.ndim(operand) else operand for operand in operands)
    if all(array.flags.f_contiguous for array in arrays):
        return tuple(operand.T.reshape(-1) if np.ndim(operand) else operand for operand in operands)
    return None


def axis_to_cut(output: Array, wanted: int) -> int:
    """The outermost axis in memory that is long enough, else the longest."""
    by_stride = sorted(range(output.ndim), key=lambda axis: -abs(output.strides[axis]))
    long_enough = (axis for axis in by_stride if output.shape[axis] >= wanted)
    return next(long_enough, max(by_stride, key=lambda axis: output.shape[axis]))


def take(operand: Any, dimensions: int, axis: int, part: slice) -> Any:
    """A part of one axis, counted among the `dimensions` of the result; all of what is broadcast along it."""
    own_axis = axis - dimensions + np.ndim(operand)
    if own_axis < 0 or operand.shape[own_axis] == 1:
        return operand
    return operand[(slice(None),) * own_axis + (part,)]
