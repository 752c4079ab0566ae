"""P4: one batch of 200,000 no-op jobs."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..clock import timed
from ..competitors import Competitor
from ..jobs import identity
from ..model import MICROSECONDS_A_JOB, Case, Measure, Options, Sample, Scenario, Table, at_most
from .common import WORKERS, mismatch, per_job, rows


def tables(options: Options) -> list[Table]:
    jobs = options.pick(200_000, 20_000)
    return [
        Table(
            f"P4: process_batch of {jobs:,} no-op jobs",
            MICROSECONDS_A_JOB,
            rows(["sequential", "loomy", "mp", "joblib", "pebble", "stdlib"], {"jobs": jobs}),
            reference="sequential",
            targets=[at_most("loomy", 1.2, to="sequential"), at_most("loomy", 1, to="mp")],
            notes=[
                "sequential is `list(map(f, xs))`. mp uses its default chunks; joblib and pebble get "
                "the same number of chunks, four a worker; the stdlib takes no chunks for threads.",
            ],
        )
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    payloads = list(range(case["jobs"]))
    with competitor.opened(identity, WORKERS):
        competitor.map(payloads[:1000])

        def measure() -> Sample:
            lap = timed(competitor.map, payloads)
            return per_job(lap, len(payloads), mismatch(lap.result[0], payloads))

        yield measure


SCENARIO = Scenario("p4", "a batch of no-ops", tables, prepare)
