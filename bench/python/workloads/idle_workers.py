"""Curve: cost of a job against the number of idle workers beside it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..clock import jobs_for, timed
from ..competitors import Competitor, Loomy
from ..jobs import identity_or_errand
from ..model import MICROSECONDS_A_JOB, Case, Measure, Options, Row, Sample, Scenario, Table, at_most_own
from .common import per_job
from .warm import start_all_workers

_SIZES = (1, 2, 4, 8, 16, 32, 64)
_WAYS = {"process": "process, affinity worker", "async": "process_async, then collect"}


def tables(options: Options) -> list[Table]:
    def row(name: str, size: int, way: str) -> Row:
        case = {"size": size, "way": way, "seconds": 0.05 if options.quick else 0.25}
        return Row(f"{name}, {size} worker{'s' if size != 1 else ''}" if size else name, name, case)

    return [
        Table(
            f"Curve: idle workers, {call}",
            MICROSECONDS_A_JOB,
            [row("sequential", 0, way)]
            + [row("loomy", size, way) for size in _SIZES]
            + [row("stdlib", size, way) for size in (1, 8, 64)],
            reference="loomy, 1 worker",
            targets=[at_most_own("loomy, 64 workers", 1.25, to="loomy, 1 worker")],
            notes=["Every worker has run a job before and is parked again."],
        )
        for way, call in _WAYS.items()
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    if isinstance(competitor, Loomy):
        competitor.affinity = "worker"

    def run(payloads: list[int]) -> Any:
        if case["way"] == "process":
            return competitor.roundtrip(payloads)
        return competitor.collect(competitor.submit_all(payloads))[-1]

    with competitor.opened(identity_or_errand, case["size"]):
        start_all_workers(competitor)
        jobs = jobs_for(case["seconds"], lambda count: run(list(range(count))), limit=100_000)
        payloads = list(range(jobs))

        def measure() -> Sample:
            time.sleep(0.01)
            lap = timed(run, payloads)
            return per_job(lap, jobs, "" if lap.result == jobs - 1 else f"last answer {lap.result!r}")

        yield measure


SCENARIO = Scenario("idle-workers", "curve: cost against idle workers, 1 to 64", tables, prepare)
