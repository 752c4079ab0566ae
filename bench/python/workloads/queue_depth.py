"""Curve: cost of a job against the number of jobs already queued."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..clock import timed
from ..competitors import Competitor
from ..jobs import Gate, identity_or_hold
from ..model import MICROSECONDS_A_JOB, Case, Measure, Options, Row, Sample, Scenario, Table, at_most_own
from .common import mismatch

_MEASURED = 10_000


def tables(options: Options) -> list[Table]:
    depths = (
        (10, 100, 1_000, 10_000, 100_000) if options.quick else (10, 100, 1_000, 10_000, 100_000, 1_000_000)
    )
    deepest = depths[-1]
    return [
        Table(
            "Curve: queue depth",
            MICROSECONDS_A_JOB,
            [Row(f"loomy, {depth:,} queued", "loomy", {"depth": depth}) for depth in depths]
            + [Row(f"stdlib, {depth:,} queued", "stdlib", {"depth": depth}) for depth in (10, 10_000)],
            reference="loomy, 10 queued",
            targets=[at_most_own(f"loomy, {deepest:,} queued", 1.25, to="loomy, 10 queued")],
            notes=[
                f"The only worker is held while the backlog is queued; then {_MEASURED:,} more jobs are "
                "submitted on top of it (submit us/job), the worker is let go, and all answers are collected "
                "(drain us/job). The figure is the sum of both.",
                "There is no sequential row: without a pool nothing can be queued.",
            ],
        )
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    backlog = list(range(case["depth"]))
    measured = list(range(_MEASURED))
    jobs = len(backlog) + len(measured)

    def measure() -> Sample:
        gate = Gate()
        held = competitor.submit_all([gate])
        gate.wait_until_held()
        first = competitor.submit_all(backlog)
        submit = timed(competitor.submit_all, measured)
        gate.open()
        drain = timed(competitor.collect, held + first + submit.result)
        submit_each, drain_each = submit.wall / len(measured), drain.wall / jobs
        return Sample(
            submit_each + drain_each,
            submit.wall + drain.wall,
            submit.cpu + drain.cpu,
            jobs,
            mismatch(drain.result[1:], backlog + measured),
            {"submit us/job": submit_each * 1e6, "drain us/job": drain_each * 1e6},
        )

    with competitor.opened(identity_or_hold, 1):
        measure()
        yield measure


SCENARIO = Scenario("queue-depth", "curve: cost against queue depth, 10 to 1,000,000", tables, prepare)
