"""How `loomy.ufunc` shares out a large call; imported with NumPy, at the first use.

    operands   what was called with what: only cases whose result is certain to be NumPy's go on
    native     NumPy's own inner loops, which run without the GIL
    pieces     the ufunc itself, called on slices: for what the loops do not do (casting, `where=`)
    errstate   the floating-point flags of all threads, reported as NumPy reports its own
    special    scipy.special's errors

Whoever is not sure returns NotImplemented, and NumPy computes the call alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loomy import _loomy
from loomy._ufunc import native, pieces
from loomy._ufunc.operands import take_operands
from loomy._ufunc.special import wants_own_thread

MOST_OPERANDS = 32  # NumPy's own bound, before NumPy 2


def prepare(ufunc: object, pool: object) -> tuple[Callable[..., Any] | None, type]:
    """For the constructor of `loomy.ufunc`: what it calls for a large call, and the type of plain arrays."""
    # numba's @vectorize makes an object that compiles a loop when it is missing, around a ufunc.
    inner = ufunc if isinstance(ufunc, np.ufunc) else getattr(ufunc, "ufunc", None)
    if not isinstance(inner, np.ufunc):
        raise TypeError(f"loomy.ufunc takes a numpy.ufunc such as np.sin, not {type(ufunc).__name__}")
    if pool is not None and not isinstance(pool, _loomy.PoolBase):
        raise TypeError(f"pool must be a loomy.Pool or None, not {type(pool).__name__}")
    # NumPy has all calls if its arrays cannot be looked into. Generalized ufuncs have more than one loop
    # dimension; those without output cannot be checked.
    leave_alone = inner.signature is not None or inner.nout == 0 or inner.nargs > MOST_OPERANDS
    if leave_alone or not native.has_known_layout():
        return None, np.ndarray
    return SharedCall(inner, pool).call, np.ndarray


class SharedCall:
    """Calls of one ufunc that are worth sharing."""

    __slots__ = ("pool", "ufunc")

    def __init__(self, ufunc: np.ufunc, pool: _loomy.PoolBase[Any, Any] | None) -> None:
        self.ufunc = ufunc
        self.pool = pool

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The result of the call, or NotImplemented if NumPy is to compute it."""
        operands = take_operands(self.ufunc, args, kwargs)
        if operands is None or wants_own_thread(self.ufunc):
            return NotImplemented
        pool = self.pool if self.pool is not None else default_pool()
        if pool is None:
            return NotImplemented
        if native.is_supported() and operands.fits_loop:
            return native.run(operands, pool)
        return pieces.run(operands, pool)


def default_pool() -> _loomy.PoolBase[Any, Any] | None:
    """The default pool; `None` if the interpreter is past the point where it can have one."""
    import loomy

    pool = loomy.default_pool()
    return pool if pool.size > 1 else None
