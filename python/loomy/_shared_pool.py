"""A pool that a whole process shares, made when it is first needed."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from loomy.pool import CallbackPool

__all__ = ("SharedPool",)


class SharedPool:
    """Nobody owns its pool, which closes when the interpreter exits. Belongs to a module: is kept for ever.

    Where the pool was closed after all, as it is in the child of a fork, the next `get` makes another.
    """

    __slots__ = ("_lock", "_make", "_nested", "_pool")

    def __init__(self, make: Callable[[], CallbackPool]) -> None:
        self._make = make
        self._pool: CallbackPool | None = None
        self._nested: SharedPool | None = None
        self._renew_lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew_lock)

    def get(self) -> CallbackPool:
        pool = self._pool
        if pool is None or pool.closed:
            with self._lock:
                pool = self._pool
                if pool is None or pool.closed:
                    pool = self._pool = self._make()
        return pool

    def beside_the_caller(self) -> CallbackPool:
        """The same pool; to a caller that runs a job of it, another one.

        Who keeps a slot and waits for a job without running it, as an event loop does, needs a slot that
        others who do the same cannot keep.
        """
        shared = self
        while (pool := shared.get())._is_inside():
            with shared._lock:
                if shared._nested is None:
                    shared._nested = SharedPool(shared._make)
            shared = shared._nested
        return pool

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()  # after a fork a thread that is not there may hold the old one
