"""Workers that keep something between jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from loomy._loomy import Context

__all__ = ("Worker",)

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Worker(ABC, Generic[In_contra, Out_co]):
    """Subclass this and pass the class, or a function that makes one, to `Pool.from_workers`.

    Each worker is made, used and ended on its own thread, so things bound to one thread (an `sqlite3`
    connection, a CUDA context) just work, and `process` needs no lock. Two exceptions: `interrupt` comes from
    another thread, and a job that waits for another job of the same pool may have it run inside itself, which
    re-enters `process`.
    """

    __slots__ = ()
    __module__ = "loomy"

    @abstractmethod
    def process(self, ctx: Context, payload: In_contra) -> Out_co:
        """Do one job. Long ones should poll `ctx` (`ctx.check()`): cancellation is cooperative."""

    def block_until_ready(self) -> None:
        """Called before each job, which waits until this returns. If it raises, the job fails with that."""

    def interrupt(self) -> None:
        """The job this worker is running was given up (timeout, cancel, shutdown): make it return soon.

        Called from another thread while `process` may still be running, once for each job given up and never
        for another job. Close the socket, set the flag; do not wait.
        """

    def terminate(self) -> None:
        """Called once, on the worker's own thread, when it leaves the pool: release what it holds."""
