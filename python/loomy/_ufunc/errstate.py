"""Floating-point errors, as NumPy reports them after a loop: numpy/_core/src/umath/extobj.c."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

DIVIDE = 1

# In the order NumPy looks at them: the name in np.geterr(), the flag (NPY_FPE_*), the text.
KINDS = (
    ("divide", DIVIDE, "divide by zero"),
    ("over", 2, "overflow"),
    ("under", 4, "underflow"),
    ("invalid", 8, "invalid value"),
)

STDERR = 2  # where C's stderr goes, which NumPy prints to

PRINTS_ONCE = np.lib.NumpyVersion(np.__version__) < "2.0.0"  # the first of the kinds that are to be printed

# From `react` to the caller of the ufunc: report, run, call, the caller. loomy.ufunc itself has no frame.
STACK_LEVEL = 5


def report(name: str, flags: int) -> None:
    """What `np.errstate` says is to happen when the ufunc `name` has raised `flags`.

    Raises FloatingPointError, and what a warnings filter or the user's callback raises.
    """
    modes: Any = np.geterr()
    printed = False
    for kind, flag, text in KINDS:
        mode = modes[kind]
        if not flags & flag or mode == "ignore" or (mode == "print" and printed and PRINTS_ONCE):
            continue
        react(mode, name, text, flags)
        printed = printed or mode == "print"


def react(mode: str, name: str, text: str, flags: int) -> None:
    message = f"{text} encountered in {name}"
    if mode == "warn":
        warnings.warn(message, RuntimeWarning, stacklevel=STACK_LEVEL)
    elif mode == "raise":
        raise FloatingPointError(message)
    elif mode == "print":
        os.write(STDERR, f"Warning: {message}\n".encode())
    elif mode == "call":
        callback = np.geterrcall()
        if callback is None:
            raise NameError(f"python callback specified for {text} (in  {name}) but no function found.")
        callback(text, flags)  # type: ignore[operator]
    elif mode == "log":
        log = np.geterrcall()
        if log is None:
            raise NameError(f"log specified for {text} (in {name}) but no object with write method found.")
        log.write(f"Warning: {message}\n")  # type: ignore[union-attr]
