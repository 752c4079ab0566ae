"""What the native core needs from `threading`: threads, a say at exit, and a place to switch threads."""

from __future__ import annotations

import atexit
import contextvars
import os
import sys
import threading
import time
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

    def wait_for_thread(self, timeout: float | None) -> bool:
        return super().wait(timeout)


class _Thread(threading.Thread):
    """A thread that is alive and can be joined from `start()` on, as others are, even if it has not run."""

    def __init__(self, entry: Callable[[], None], name: str, **options: Any) -> None:
        super().__init__(target=entry, name=name, daemon=True, **options)
        self._started = _Started()
        self._process = os.getpid()

    def start(self) -> None:
        try:
            super().start()
        except KeyError as error:
            # A signal handler raised after the thread had begun: CPython then takes it out of limbo, where it
            # is no more, and the KeyError of that hides what was raised.
            if error.args != (self,) or error.__context__ is None:
                raise
            raise error.__context__ from None

    def _bootstrap(self) -> None:
        try:
            super()._bootstrap()  # type: ignore[misc]  # which threading.pyi does not have
        except KeyError as error:
            # The other way round: it was taken out of limbo before it had begun, and has run nothing. Whoever
            # started it, and was told of what the signal handler raised, starts another.
            if error.args != (self,):
                raise

    def run(self) -> None:
        # Threads that a job starts inherit this, and are to be waited for at exit, as those are that a job of
        # the standard library's executor starts. Whether this one is waited for was settled when it began.
        self._daemonic = False
        try:
            super().run()
        finally:
            self._daemonic = True

    def join(self, timeout: float | None = None) -> None:
        began = time.monotonic()
        if self._process != os.getpid():
            return  # threads do not survive a fork, and one that had not run by then never does
        if timeout is not None:
            timeout = max(timeout, 0.0)
        if not self._started.wait_for_thread(timeout):
            return
        super().join(timeout and max(timeout - (time.monotonic() - began), 0.0))

    def is_alive(self) -> bool:
        if self._process != os.getpid():
            return False
        return not self._started.is_set() or super().is_alive()


def new_thread(entry: Callable[[], None], name: str) -> threading.Thread:
    """Make a thread for `entry()` that debuggers, profilers, tracers and `threading.enumerate` see.

    A daemon: at interpreter exit pools are shut down through `register_exit`, not by joining their threads.
    """
    options: dict[str, Any] = {}
    if sys.version_info >= (3, 14):
        # Else, on free-threaded builds, a worker would hold a copy of the first submitter's context all its
        # life.
        options["context"] = contextvars.Context()
    return _Thread(entry, name, **options)


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
    os.register_at_fork(after_in_child=_loomy._after_fork_in_child)
