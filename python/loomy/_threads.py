"""What the native core needs from `threading`: threads, a say at exit, and a place to switch threads."""

from __future__ import annotations

import atexit
import contextvars
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from loomy import _loomy

if TYPE_CHECKING:
    from collections.abc import Callable


class _Started(threading.Event):
    """The event on which `Thread.start` waits for the new thread to have run; here it goes on at once.

    That wait is a GIL hand-off for each thread, more than half of what starting 100 workers costs. Nothing
    needs it: the core has its own latch for each worker, and until the thread has run `threading.enumerate`
    finds it in limbo.
    """

    def wait(self, timeout: float | None = None) -> bool:
        return True


def start(entry: Callable[[], None], name: str) -> threading.Thread:
    """Run `entry()` on a new thread that debuggers, profilers, tracers and `threading.enumerate` see.

    A daemon: at interpreter exit pools are shut down through `register_exit`, not by joining their threads.
    Raises `RuntimeError` if the system has no more threads.
    """
    options: dict[str, Any] = {}
    if sys.version_info >= (3, 14):
        # Else, on free-threaded builds, a worker would hold a copy of the first submitter's context all its
        # life.
        options["context"] = contextvars.Context()
    thread = threading.Thread(target=entry, name=name, daemon=True, **options)
    thread._started = _Started()  # type: ignore[attr-defined]
    thread.start()
    return thread


def register_exit(callback: Callable[[], object]) -> None:
    """Call `callback()` when the interpreter exits, if possible before it joins non-daemon threads."""
    try:
        threading._register_atexit(callback)  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):  # not this interpreter; or it is already past that point
        atexit.register(callback)


def checkpoint() -> None:
    """Do nothing, in Python: the interpreter switches threads where it enters a Python function."""


_loomy._set_checkpoint(checkpoint)
register_exit(_loomy._at_exit)
atexit.register(_loomy._after_threads)  # executors, and pools made after that
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_loomy._before_fork,
        after_in_parent=_loomy._after_fork_in_parent,
        after_in_child=_loomy._after_fork_in_child,
    )
