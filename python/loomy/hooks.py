"""Callbacks on what jobs and workers do."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ("Hooks",)

In_contra = TypeVar("In_contra", contravariant=True)
Out_contra = TypeVar("Out_contra", contravariant=True)


class Hooks(Generic[In_contra, Out_contra]):
    """Subclass this, override what you need, and pass an instance as `hooks=` or to `Pool.set_hooks`.

    Only methods that the subclass really overrides are called, so a hook nobody wrote costs nothing. They run
    on the thread the event happens on, many threads at once: protect what they share. A hook that raises is
    reported through `sys.unraisablehook` and changes nothing else.

    For every job exactly one of `on_job_complete` and `on_job_error` is called, and it says what the caller
    saw. A job that never started gets its error without `on_job_start`.
    """

    __slots__ = ()
    __module__ = "loomy"

    def on_job_start(self, payload: In_contra) -> None:
        """A job is about to run, on this thread."""

    def on_job_complete(self, payload: In_contra, result: Out_contra, duration: float) -> None:
        """A job returned `result` after `duration` seconds, exact and without its time in the queue."""

    def on_job_error(self, payload: In_contra, error: BaseException, duration: float) -> None:
        """A job raised `error`, or was given up with it, after `duration` seconds (0.0 if it never started).

        An abandoned job is reported once, when its caller gives it up, with `JobTimedOut`,
        `DeadlineExceeded`, `JobCancelled`, `PoolNotRunning` or `WorkerClosed`; what its function returns
        later is not reported.
        """

    def on_worker_start(self, worker_id: int) -> None:
        """Slot `worker_id` joined the pool, once, whether or not its thread ever runs."""

    def on_worker_stop(self, worker_id: int) -> None:
        """Slot `worker_id` left the pool, because it shrank or closed."""
