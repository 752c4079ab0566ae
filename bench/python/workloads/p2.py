"""P2: one caller, one job at a time, on a worker thread: two thread hand-offs a job."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..competitors import Competitor, Loomy
from ..model import MICROSECONDS_A_JOB, Case, Measure, Options, Scenario, Table, times_faster
from . import p1
from .common import AWAITED, rows


def tables(options: Options) -> list[Table]:
    case = {"seconds": 0.05 if options.quick else 0.25}
    return [
        Table(
            "P2: process(x), one caller, affinity worker",
            MICROSECONDS_A_JOB,
            rows(["sequential", "loomy", "stdlib", "mp", "pebble", "mpire", "tbb4py", "dask"], case),
            reference="stdlib",
            targets=[times_faster("loomy", 20, than="stdlib")],
            notes=[
                "joblib is left out: its unit is a whole Parallel call.",
                AWAITED,
                "The specification also compares with Go loomy's Process, which is not run here.",
            ],
        )
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    if isinstance(competitor, Loomy):
        competitor.affinity = "worker"
    with p1.prepare(competitor, case) as measure:
        yield measure


SCENARIO = Scenario("p2", "process(x) on a worker thread", tables, prepare)
