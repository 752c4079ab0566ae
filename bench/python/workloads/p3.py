"""P3: submit 100,000 jobs one by one, then collect every answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..clock import timed
from ..competitors import Competitor
from ..jobs import identity
from ..model import MICROSECONDS_A_JOB, Case, Measure, Options, Sample, Scenario, Table, times_faster
from .common import AWAITED, WORKERS, mismatch, rows

_SLOW = ("pebble", "tbb4py")


def tables(options: Options) -> list[Table]:
    jobs = options.pick(100_000, 10_000)
    return [
        Table(
            f"P3: {jobs:,} x process_async, then collect",
            MICROSECONDS_A_JOB,
            rows(
                ["sequential", "loomy", "stdlib", "mp", "pebble", "mpire", "tbb4py"],
                {"jobs": jobs},
                {"mpire": {"jobs": jobs // 20}, **{name: {"jobs": jobs // 5} for name in _SLOW}},
            ),
            reference="stdlib",
            targets=[times_faster("loomy", 60, than="stdlib")],
            notes=[
                "joblib and dask are left out: they have no call that submits one job and returns.",
                AWAITED,
                f"{' and '.join(_SLOW)} submit {jobs // 5:,}, which take over 50 microseconds each; "
                f"mpire {jobs // 20:,}: a third of a millisecond.",
            ],
        )
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    payloads = list(range(case["jobs"]))
    with competitor.opened(identity, WORKERS):

        def measure() -> Sample:
            submit = timed(competitor.submit_all, payloads)
            collect = timed(competitor.collect, submit.result)
            answers: list[Any] = collect.result
            wall = submit.wall + collect.wall
            jobs = len(payloads)
            return Sample(
                wall / jobs,
                wall,
                submit.cpu + collect.cpu,
                jobs,
                mismatch(answers, payloads),
                {"submit us/job": submit.wall / jobs * 1e6, "collect us/job": collect.wall / jobs * 1e6},
            )

        # As often as in a round: the handles of the first lie on pages that the process never had (P12).
        competitor.collect(competitor.submit_all(payloads))
        yield measure


SCENARIO = Scenario("p3", "submit all, then collect", tables, prepare)
