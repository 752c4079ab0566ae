"""Curve: cost of a job against the number of jobs the pool has already run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..clock import timed
from ..competitors import Competitor
from ..jobs import identity
from ..model import MICROSECONDS_A_JOB, Case, Measure, Options, Row, Sample, Scenario, Table, at_most_own
from .common import WORKERS, mismatch, per_job

_BURST = 20_000
_BURSTS = 5


def tables(options: Options) -> list[Table]:
    ages = [0, options.pick(1_000_000, 100_000), options.pick(10_000_000, 500_000)]
    oldest = ages[-1]
    return [
        Table(
            f"Curve: pool age, {_BURSTS} bursts of {_BURST:,} x process_async, each collected",
            MICROSECONDS_A_JOB,
            [Row("sequential", "sequential", {"age": 0, "bursts": _BURSTS})]
            + [Row(f"loomy after {age:,} jobs", "loomy", {"age": age, "bursts": _BURSTS}) for age in ages]
            + [
                Row(f"stdlib after {age:,} jobs", "stdlib", {"age": age, "bursts": 1}) for age in (0, 100_000)
            ],
            reference="loomy after 0 jobs",
            targets=[at_most_own(f"loomy after {oldest:,} jobs", 1.25, to="loomy after 0 jobs")],
            notes=[
                "The rounds themselves age the pools too. stdlib takes a second for a burst, so it has one."
            ],
        )
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    payloads = list(range(_BURST))

    def burst() -> list[Any]:
        return competitor.collect(competitor.submit_all(payloads))

    with competitor.opened(identity, WORKERS):
        for _ in range(max(1, case["age"] // _BURST)):
            burst()

        def measure() -> Sample:
            lap = timed(lambda: [burst() for _ in range(case["bursts"])])
            wrong = "".join(mismatch(answers, payloads) for answers in lap.result)
            return per_job(lap, _BURST * case["bursts"], wrong)

        yield measure


SCENARIO = Scenario("pool-age", "curve: cost against jobs already run", tables, prepare)
