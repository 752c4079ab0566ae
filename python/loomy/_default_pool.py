"""The pool that a process shares where nobody made one of its own."""

from __future__ import annotations

import os
import threading

from loomy.pool import CallbackPool

__all__ = ("default_pool",)

_lock = threading.Lock()
_pool: CallbackPool | None = None


def default_pool() -> CallbackPool:
    """The pool that kernels run on unless they are told another, with a worker for each usable CPU.

    Made at the first use, a pool of callbacks as `Pool.from_callbacks()` makes it. It is everybody's, so
    leave it open: it closes by itself when the interpreter exits. Where it was closed after all, and in the
    child of a fork, the next call makes another.
    """
    global _pool
    with _lock:
        if _pool is None or _pool.closed:
            _pool = CallbackPool(name="loomy-default")
        return _pool


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
