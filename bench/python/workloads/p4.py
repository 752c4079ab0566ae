"""P4: one batch of 200,000 no-op jobs."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..clock import timed
from ..competitors import Competitor
from ..jobs import identity
from ..model import MICROSECONDS_A_JOB, Case, Measure, Options, Sample, Scenario, Table, at_most
from .common import WORKERS, mismatch, per_job, rows

_SLOW = ("mpire", "tbb4py", "anyio")
_PEERS = ("mp", "joblib", "pebble", "stdlib", "dask", "hypertile", *_SLOW)


def tables(options: Options) -> list[Table]:
    jobs = options.pick(200_000, 20_000)
    return [
        Table(
            f"P4: process_batch of {jobs:,} no-op jobs",
            MICROSECONDS_A_JOB,
            rows(
                ["sequential", "loomy", *_PEERS],
                {"jobs": jobs},
                {name: {"jobs": jobs // 20} for name in _SLOW},
            ),
            reference="sequential",
            targets=[
                at_most("loomy", 1.2, to="sequential"),
                *(at_most("loomy", 1, to=peer) for peer in _PEERS),
            ],
            notes=[
                "sequential is `list(map(f, xs))`. mp uses its default chunks; the others that take "
                "chunks get the same number, four a worker; stdlib and anyio take none.",
                f"{', '.join(_SLOW)}: {jobs // 20:,} jobs, because they take tens of microseconds for each.",
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
