"""The errors of scipy.special, which has modes of its own beside `np.errstate`, one set for each thread."""

from __future__ import annotations

import sys

import numpy as np


def wants_own_thread(ufunc: np.ufunc) -> bool:
    """A ufunc of scipy.special whose errors were asked for: workers do not know that, so NumPy calls it."""
    special = sys.modules.get("scipy.special")
    if special is None or getattr(special, ufunc.__name__, None) is not ufunc:
        return False
    modes = special.geterr()
    return any(mode != "ignore" for kind, mode in modes.items() if kind != "memory")
