"""What `concurrent.futures.wait` and `as_completed` look at in a future, made when one of them looks."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from concurrent.futures import Future


class Touched:
    """The condition, state and waiters of one future.

    Those functions read the state and list a waiter while they hold the condition, and rely on it that no
    waiter is told of an end they have seen, and each of one they have not. The native job ends without that
    lock, so `state` here follows under it: the future says what it says only after `settle`.
    """

    __slots__ = ("condition", "process", "state", "waiters")

    def __init__(self, state: str | None) -> None:
        self.condition = threading.Condition()
        self.waiters: list[Any] = []
        self.state = state  # None until the end
        self.process = os.getpid()

    def is_of_this_process(self) -> bool:
        """Not so in the child of a fork that came later."""
        return self.process == os.getpid()

    def settle(
        self, future: Future[Any], how: Literal["add_result", "add_exception", "add_cancelled"]
    ) -> None:
        """Tell whoever waits on the condition that `future` has ended; again does nothing."""
        with self.condition:
            if self.state is not None:
                return
            # A cancelled future is at once what the standard library makes of it when a worker finds it, or
            # its waiters would wait for that worker.
            self.state = "CANCELLED_AND_NOTIFIED" if how == "add_cancelled" else "FINISHED"
            for waiter in self.waiters:
                getattr(waiter, how)(future)
            self.condition.notify_all()
