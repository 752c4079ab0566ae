"""P7: jobs awaited in an asyncio event loop, one after the other and a thousand at a time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ..clock import timed
from ..competitors import Competitor
from ..jobs import identity
from ..model import (
    MICROSECONDS_A_JOB,
    Case,
    Measure,
    Options,
    Sample,
    Scenario,
    Table,
    Target,
    at_most,
    times_faster,
)
from .common import WORKERS, mismatch, per_job, rows

_TOGETHER = 1000
_PEERS = ("stdlib", "anyio", "hypertile")


def _ahead() -> list[Target]:
    return [at_most("loomy", 1, to=peer) for peer in _PEERS[1:]]


def tables(options: Options) -> list[Table]:
    names = ["sequential", "loomy", *_PEERS]
    notes = [
        "sequential: a coroutine that calls the function; gather makes a task of each.",
        "stdlib: loop.run_in_executor(pool, f, x). anyio: to_thread.run_sync, a task group "
        "for gather. hypertile: to_thread. The others offer nothing to await.",
    ]
    return [
        Table(
            "P7: sequential awaits",
            MICROSECONDS_A_JOB,
            rows(names, {"jobs": options.pick(5_000, 1_000), "together": 1}),
            reference="stdlib",
            targets=[times_faster("loomy", 4, than="stdlib"), *_ahead()],
            notes=notes,
        ),
        Table(
            f"P7: gather of {_TOGETHER:,}",
            MICROSECONDS_A_JOB,
            rows(names, {"jobs": options.pick(20, 5) * _TOGETHER, "together": _TOGETHER}),
            reference="stdlib",
            targets=[times_faster("loomy", 15, than="stdlib"), *_ahead()],
            notes=notes,
        ),
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    jobs: int = case["jobs"]
    together: int = case["together"]
    payloads = list(range(together if together > 1 else jobs))

    async def one_by_one() -> list[int]:
        return [await competitor.await_each(payloads)]

    async def all_together() -> list[int]:
        answers: list[int] = []
        for _ in range(jobs // together):
            answers = await competitor.gather(payloads)
        return answers

    run = all_together if together > 1 else one_by_one
    right = payloads if together > 1 else payloads[-1:]
    with competitor.opened(identity, WORKERS), asyncio.Runner() as runner:

        def measure() -> Sample:
            lap = timed(lambda: runner.run(run()))
            return per_job(lap, jobs, mismatch(lap.result, right))

        measure()
        yield measure


SCENARIO = Scenario("p7", "jobs awaited in an event loop", tables, prepare)
