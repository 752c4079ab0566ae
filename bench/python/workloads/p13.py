"""P13: does a batch of C-function calls, which never offer the GIL, starve other Python threads?"""

import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..clock import timed
from ..competitors import Competitor
from ..model import MILLISECONDS, Case, Measure, Options, Row, Sample, Scenario, Table, no_more_than
from ..ticker import Ticker
from .common import WORKERS

_JOBS = 5_000_000


def tables(options: Options) -> list[Table]:
    kinds = ("list", "range")
    return [
        Table(
            f"P13: largest gap of a ticking thread beside {_JOBS:,} C-function calls, payloads in a {kind}",
            MILLISECONDS,
            [Row(name, name, {"kind": kind}) for name in ("sequential", "loomy", "mp", "dask")],
            reference="sequential",
            targets=[no_more_than("loomy", 25, MILLISECONDS)],
            notes=[
                "The ticker sleeps 1 ms at a time. The function is operator.neg. "
                "sequential is list(map(f, xs)) beside the same ticker.",
                "The others are left out: their Python code per job takes minutes here and offers the GIL at "
                "every step; or, in hypertile, a gigabyte of tuples.",
            ],
            rounds=3,
        )
        for kind in kinds
    ]


def _wrong(answers: Sequence[int]) -> str:
    """Checked through the sum and a stride of places, which is quicker than five million comparisons."""
    if len(answers) != _JOBS:
        return f"{len(answers)} answers for {_JOBS} jobs"
    if sum(answers) != -(_JOBS * (_JOBS - 1) // 2):
        return f"the answers add up to {sum(answers)}"
    if any(answers[index] != -index for index in range(0, _JOBS, 997)):
        return "answers out of order"
    return ""


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    payloads = range(_JOBS) if case["kind"] == "range" else list(range(_JOBS))
    with competitor.opened(operator.neg, WORKERS):

        def measure() -> Sample:
            ticker = Ticker()
            ticker.start()
            lap = timed(competitor.map, payloads)
            ticker.stop()
            return Sample(
                ticker.largest_gap,
                lap.wall,
                lap.cpu,
                _JOBS,
                _wrong(lap.result[0]),
                {"us/job": lap.wall / _JOBS * 1e6, "ticks": ticker.ticks},
            )

        yield measure


SCENARIO = Scenario("p13", "starving other threads", tables, prepare)
