"""P10: 200 jobs that block for 10 ms, on 100 workers; 20 ms would be perfect."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..clock import timed
from ..competitors import Answers, Competitor
from ..jobs import sleep_10_ms
from ..model import MILLISECONDS, Case, Measure, Options, Row, Sample, Scenario, Table, no_more_than
from .common import in_all, mismatch

_JOBS = 200
_WORKERS = 100


def tables(options: Options) -> list[Table]:
    def systems(cold: bool) -> list[Row]:
        case = {"cold": cold}
        return [
            Row("sequential", "sequential", case),
            Row("loomy batch", "loomy", case),
            Row("loomy async", "loomy", case | {"async": True}),
            Row("stdlib", "stdlib", case),
            Row("mp, chunks of 1", "mp", case),
            Row("joblib, chunks of 1", "joblib", case),
            Row("pebble, chunks of 1", "pebble", case),
            Row("mpire, chunks of 1", "mpire", case),
            Row("tbb4py, chunks of 1", "tbb4py", case),
            Row("dask, chunks of 1", "dask", case),
            Row("anyio", "anyio", case),
            # Its pool can be made only once in a process.
            *([] if cold else [Row("hypertile", "hypertile", case)]),
        ]

    return [
        Table(
            f"P10: {_JOBS} jobs that block 10 ms, {_WORKERS} workers, warm pool",
            MILLISECONDS,
            systems(cold=False),
            reference="stdlib",
            targets=[no_more_than(label, 30, MILLISECONDS) for label in ("loomy batch", "loomy async")],
            notes=["Chunks of one: a chunk that sleeps twice holds its second job up."],
        ),
        Table(
            "P10: the same, with making and closing the pool",
            MILLISECONDS,
            systems(cold=True),
            reference="stdlib",
        ),
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    payloads = list(range(_JOBS))

    def run() -> Answers:
        if case.get("async"):
            return competitor.collect(competitor.submit_all(payloads)), None
        return competitor.map(payloads, chunksize=1)

    def whole_life() -> Answers:
        with competitor.opened(sleep_10_ms, _WORKERS):
            return run()

    def measure_with(work: Callable[[], Answers]) -> Sample:
        lap = timed(work)
        return in_all(lap, _JOBS, mismatch(lap.result[0], payloads))

    if case["cold"]:
        yield lambda: measure_with(whole_life)
        return
    with competitor.opened(sleep_10_ms, _WORKERS):
        run()
        yield lambda: measure_with(run)


SCENARIO = Scenario("p10", "many jobs that block", tables, prepare)
