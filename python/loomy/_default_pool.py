"""The pool that a process shares where nobody made one of its own."""

from __future__ import annotations

from loomy._shared_pool import SharedPool
from loomy.pool import CallbackPool

__all__ = ("default_pool",)

_shared = SharedPool(lambda: CallbackPool(name="loomy-default"))


def default_pool() -> CallbackPool:
    """The pool that kernels run on unless they are told another, with a worker for each usable CPU.

    Made at the first use, a pool of callbacks as `Pool.from_callbacks()` makes it. It is everybody's, so
    leave it open: it closes by itself when the interpreter exits. Where it was closed after all, and in the
    child of a fork, the next call makes another.
    """
    return _shared.get()
