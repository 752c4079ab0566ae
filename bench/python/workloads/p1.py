"""P1: one caller, one job at a time, and nothing against the caller running it itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..clock import jobs_for, timed
from ..competitors import Competitor
from ..jobs import identity
from ..model import MICROSECONDS_A_JOB, Case, Measure, Options, Sample, Scenario, Table, at_most, times_faster
from .common import AWAITED, WORKERS, per_job, rows


def tables(options: Options) -> list[Table]:
    case = {"seconds": 0.05 if options.quick else 0.25}
    return [
        Table(
            "P1: process(x), one caller, affinity any",
            MICROSECONDS_A_JOB,
            rows(["sequential", "loomy", "stdlib", "mp", "pebble", "mpire", "tbb4py", "dask"], case),
            reference="sequential",
            targets=[at_most("loomy", 4, to="sequential"), times_faster("loomy", 150, than="stdlib")],
            notes=[
                "sequential is the bare call in the same for loop: `for x in xs: answer = f(x)`. "
                "No loop cost is subtracted from any row. As many jobs as fill the round.",
                "joblib is left out: its unit is a whole Parallel call.",
                AWAITED,
            ],
        )
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    with competitor.opened(identity, WORKERS):
        jobs = jobs_for(case["seconds"], lambda count: competitor.roundtrip(list(range(count))))
        payloads = list(range(jobs))

        def measure() -> Sample:
            lap = timed(competitor.roundtrip, payloads)
            wrong = "" if lap.result == jobs - 1 else f"last answer {lap.result!r}, expected {jobs - 1}"
            for payload in payloads[:1000]:
                answer = competitor.roundtrip([payload])
                if answer != payload:
                    wrong = f"answer {answer!r}, expected {payload!r}"
            return per_job(lap, jobs, wrong)

        yield measure


SCENARIO = Scenario("p1", "process(x) beside the bare call", tables, prepare)
