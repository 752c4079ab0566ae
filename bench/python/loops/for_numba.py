"""The loops for numba: with `prange` for its own threads, and as C functions for loomy.

Compiled code is kept (``cache=True``), as each row has a process of its own: compiling took a second in each.
"""

from typing import Any

import numba  # type: ignore[import-not-found,import-untyped,unused-ignore]

_LOOP = numba.types.void(
    numba.types.CPointer(numba.types.voidptr),
    numba.types.CPointer(numba.types.intp),
    numba.types.CPointer(numba.types.intp),
    numba.types.voidptr,
)
f8, i4, carray = numba.float64, numba.int32, numba.carray


def _horner(n: Any, x: Any, out: Any) -> None:
    for i in numba.prange(n):
        total = 1.0
        for _ in range(32):
            total = total * x[i] + 0.5
        out[i] = total


def _saxpy(n: Any, x: Any, y: Any, out: Any) -> None:
    for i in numba.prange(n):
        out[i] = 2.5 * x[i] + y[i]


def _rows(begin: Any, end: Any, side: Any, out: Any) -> None:
    for row in numba.prange(begin, end):
        ci = -1.25 + 2.5 * row / side
        for column in range(side):
            cr = -2.0 + 2.5 * column / side
            zr = zi = 0.0
            steps = 0
            while steps < 200 and zr * zr + zi * zi < 4.0:
                zr, zi = zr * zr - zi * zi + cr, 2 * zr * zi + ci
                steps += 1
            out[row, column] = steps


def _mandelbrot(n: Any, out: Any) -> None:
    _rows_parallel(0, n, n, out)


_rows_parallel = numba.njit(parallel=True, cache=True)(_rows)
_rows_alone = numba.njit(cache=True)(_rows)
_horner_alone = numba.njit(cache=True)(_horner)
_saxpy_alone = numba.njit(cache=True)(_saxpy)

PRANGE = {
    "horner": numba.njit(parallel=True, cache=True)(_horner),
    "saxpy": numba.njit(parallel=True, cache=True)(_saxpy),
    "mandelbrot": numba.njit(cache=True)(_mandelbrot),
}


def _horner_loop(args: Any, dims: Any, steps: Any, data: Any) -> None:
    n = dims[0]
    _horner_alone(n, carray(args[0], n, f8), carray(args[1], n, f8))


def _saxpy_loop(args: Any, dims: Any, steps: Any, data: Any) -> None:
    n = dims[0]
    _saxpy_alone(n, carray(args[0], n, f8), carray(args[1], n, f8), carray(args[2], n, f8))


# A range function gets the address of the picture, but not its side: one for each.
def _mandelbrot_range(side: int) -> Any:
    def rows(begin: Any, end: Any, user: Any) -> None:
        _rows_alone(begin, end, side, carray(user, (side, side), i4))

    intp = numba.types.intp
    return numba.cfunc(numba.types.void(intp, intp, numba.types.voidptr), cache=True)(rows)


def cfunc(name: str, n: int) -> Any:
    """The loop as a C function, as numba compiles it without any thread of its own."""
    if name == "mandelbrot":
        return _mandelbrot_range(n)
    return numba.cfunc(_LOOP, cache=True)({"horner": _horner_loop, "saxpy": _saxpy_loop}[name])


def _nested_row(x: Any, y: Any, out: Any) -> None:
    for i in numba.prange(x.size):
        out[i] = 2.5 * x[i] + y[i]


def _nested(x: Any, y: Any, out: Any) -> None:
    for row in numba.prange(x.shape[0]):
        _row_parallel(x[row], y[row], out[row])


_row_parallel = numba.njit(parallel=True)(_nested_row)
nested = numba.njit(parallel=True)(_nested)
