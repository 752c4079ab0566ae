"""P6: the drop-in executor: one job submitted and waited for, and a map of many."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ..clock import timed
from ..competitors import Competitor
from ..jobs import identity
from ..model import MICROSECONDS_A_JOB, Case, Measure, Options, Sample, Scenario, Table, times_faster
from . import p1
from .common import AWAITED, WORKERS, mismatch, per_job, rows

SYSTEMS = ["sequential", "executor", "stdlib", "mp", "pebble", "mpire", "tbb4py", "dask"]


def tables(options: Options) -> list[Table]:
    jobs = options.pick(100_000, 10_000)
    return [
        Table(
            "P6: Executor.submit(f, x).result(), one caller",
            MICROSECONDS_A_JOB,
            rows(SYSTEMS, {"kind": "roundtrip", "seconds": 0.05 if options.quick else 0.25}),
            reference="stdlib",
            targets=[times_faster("executor", 15, than="stdlib")],
            notes=["joblib is left out: its unit is a whole Parallel call.", AWAITED],
        ),
        Table(
            f"P6: list(Executor.map(f, xs)), {jobs:,} items",
            MICROSECONDS_A_JOB,
            rows(
                [*SYSTEMS, "joblib", "hypertile"],
                {"kind": "map", "jobs": jobs},
                {name: {"jobs": jobs // 10} for name in ("mpire", "tbb4py")},
            ),
            reference="stdlib",
            targets=[times_faster("executor", 30, than="stdlib")],
            notes=[
                "The peers' own calls for many jobs, with the chunks they are best at; the two executors "
                "promise a worker to each item, so they have no chunks.",
                f"mpire and tbb4py: {jobs // 10:,} items.",
            ],
        ),
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    if case["kind"] == "roundtrip":
        with p1.prepare(competitor, case) as measure:
            yield measure
        return
    with competitor.opened(identity, WORKERS):
        yield partial(_measure_map, competitor, range(case["jobs"]))


def _measure_map(competitor: Competitor, payloads: range) -> Sample:
    lap = timed(competitor.map, payloads)
    answers, _ = lap.result
    return per_job(lap, len(payloads), mismatch(answers, payloads))


SCENARIO = Scenario("p6", "the drop-in executor", tables, prepare)
