"""Every exception that loomy raises of its own accord. Messages say what happened and what to do."""

from __future__ import annotations

import concurrent.futures

__all__ = (
    "DeadlineExceeded",
    "JobCancelled",
    "JobNotCallable",
    "JobTimedOut",
    "LoomyError",
    "PoolFull",
    "PoolNotRunning",
    "WorkerClosed",
    "WorkerPanic",
)


class LoomyError(Exception):
    """Base of all errors below."""

    __module__ = "loomy"


class PoolNotRunning(LoomyError, RuntimeError):
    """The pool was closed or shut down, or belongs to the parent of a forked process."""

    __module__ = "loomy"


class PoolFull(LoomyError):
    """The queue is at `max_pending` and the pool was made with `on_full="raise"`.

    `depth` is the number of jobs that were queued.
    """

    __module__ = "loomy"

    def __init__(self, message: str = "the pool is full", depth: int = 0) -> None:
        super().__init__(message, depth)
        self.depth = depth

    def __str__(self) -> str:
        return str(self.args[0])


class JobTimedOut(LoomyError, TimeoutError):
    """The timeout of the call passed before the job had ended."""

    __module__ = "loomy"


class DeadlineExceeded(JobTimedOut):
    """The deadline of the context passed."""

    __module__ = "loomy"


class JobCancelled(LoomyError, concurrent.futures.CancelledError):
    """The job was cancelled, by its caller or by its context."""

    __module__ = "loomy"


class WorkerClosed(LoomyError):
    """The worker went away, or could not be made, with the job unfinished; `__cause__` says why."""

    __module__ = "loomy"


class WorkerPanic(LoomyError):
    """The job raised something that is not an `Exception`, or native code threw; `__cause__` has it.

    The pool stays healthy: the worker goes on with its next job.
    """

    __module__ = "loomy"


class JobNotCallable(LoomyError, TypeError):
    """A pool made with `Pool.from_callbacks` got a payload that cannot be called."""

    __module__ = "loomy"
