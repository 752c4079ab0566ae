"""A pool's counters at one moment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ("Histogram", "PoolStats")


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often durations fell in power-of-two buckets.

    Bucket 0 counts what took less than a nanosecond, bucket i > 0 durations of 2**(i-1) to 2**i nanoseconds.
    Timing is sampled where two readings of the clock would weigh on the job, so `total` can be less than the
    number of jobs.
    """

    __module__ = "loomy"

    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Durations recorded."""
        return sum(self.counts)

    def bounds(self, bucket: int) -> tuple[float, float]:
        """Shortest and longest duration of a bucket in seconds; the second is not part of it."""
        if not 0 <= bucket < len(self.counts):
            raise IndexError(f"bucket must be from 0 to {len(self.counts) - 1}, got {bucket}")
        return (2.0 ** (bucket - 1) * 1e-9 if bucket else 0.0, 2.0**bucket * 1e-9)

    def percentile(self, q: float) -> float:
        """The duration in seconds that `q` percent (0 to 100) do not exceed; NaN if none was recorded.

        Interpolated within its bucket, so right to a factor of two.
        """
        if not 0 <= q <= 100:
            raise ValueError(f"q is in percent, from 0 to 100, got {q!r}")
        total = self.total
        if not total:
            return math.nan
        rank = total * q / 100
        below = 0
        answer = 0.0
        for bucket, count in enumerate(self.counts):
            if not count:
                continue
            low, high = self.bounds(bucket)
            answer = low + (high - low) * min(1.0, (rank - below) / count)
            below += count
            if below >= rank:
                break
        return answer


@dataclass(frozen=True, slots=True)
class PoolStats:
    """One consistent snapshot of a pool, from `Pool.stats()`.

    Counters start at 0 with the pool and count payloads, those of batches included.
    At rest `submitted == completed + failed + cancelled + timed_out + queued + running`.
    """

    __module__ = "loomy"

    submitted: int
    """Payloads the pool accepted."""
    queued: int
    """Accepted and not started."""
    running: int
    """Started and not ended."""
    completed: int
    """Returned a result."""
    failed: int
    """Raised, or could not be run (`PoolNotRunning`, `WorkerClosed`, `WorkerPanic`)."""
    cancelled: int
    """Given up with `JobCancelled`."""
    timed_out: int
    """Given up with `JobTimedOut` or `DeadlineExceeded`."""
    rejected: int
    """Refused because the queue was full or the pool closed; not in `submitted`."""
    workers: int
    """Slots: the pool's size."""
    idle: int
    """Slots that are running nothing."""
    peak_queued: int
    """The most that was ever queued at once."""
    wakes: int
    """Times a parked worker was woken."""
    parks: int
    """Times a worker went to sleep."""
    inline: int
    """Jobs that ran on the thread of a caller and not on a worker's."""
    busy_seconds: float
    """Time spent running jobs, summed over all slots; estimated where timing is sampled."""
    queue_wait: Histogram
    """From submission to start; sampled."""
    run_time: Histogram
    """From start to end; sampled."""

    @classmethod
    def _of(cls, snapshot: tuple[Any, ...]) -> PoolStats:
        """From `PoolBase._stats()`: the fields in their order, histograms as plain tuples."""
        return cls(*snapshot[:-2], *map(Histogram, snapshot[-2:]))
