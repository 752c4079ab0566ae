"""Curve: cost of a job against the number of jobs already queued."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..clock import CollectorClock, timed
from ..competitors import Competitor
from ..jobs import Gate, Stamp, identity_or_errand
from ..model import (
    MICROSECONDS_A_JOB,
    Case,
    Measure,
    Medians,
    Options,
    Row,
    RowResult,
    Sample,
    Scenario,
    Table,
    Target,
    at_most_own,
)
from .common import mismatch

_JOBS_A_ROUND = 50_000
_COLLECTOR = "gc us/job"


def _without_the_collector(row: str, to: str) -> Target:
    def without(result: RowResult) -> float:
        return result.median_of(lambda sample: sample.value * 1e6 - sample.extra[_COLLECTOR])

    def figure(medians: Medians) -> float:
        return without(medians[row]) / without(medians[to])

    return Target(f"{row} / {to} <= 1.25, both without {_COLLECTOR}", figure, at_most=1.25, origin="ours")


def tables(options: Options) -> list[Table]:
    depths = [10, 100, 1_000, 10_000, 100_000]
    if not options.quick:
        depths.append(1_000_000)
    return [
        Table(
            "Curve: queue depth",
            MICROSECONDS_A_JOB,
            [Row(f"loomy, {depth:,} queued", "loomy", {"depth": depth}) for depth in depths]
            + [Row(f"stdlib, {depth:,} queued", "stdlib", {"depth": depth}) for depth in (10, 10_000)],
            reference="loomy, 10 queued",
            targets=[
                at_most_own(f"loomy, {depths[-1]:,} queued", 1.25, to="loomy, 10 queued"),
                _without_the_collector(f"loomy, {depths[-1]:,} queued", to="loomy, 10 queued"),
            ],
            notes=[
                "The only worker is held while the backlog is queued; then a tenth more (at least 100) is "
                "submitted on top of it: submit us/job. Then the worker is let go; drain us/job is the time "
                "between its first job and its last, so waking it is in neither. The figure is the sum.",
                f"{_COLLECTOR} is the share of submit us/job that Python's garbage collector took: its full "
                "collections look at every handle the caller holds, whoever made it.",
                f"Shallow queues are filled and drained until {_JOBS_A_ROUND:,} jobs have gone through.",
                "There is no sequential row: without a pool nothing can be queued.",
            ],
        )
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    backlog = list(range(case["depth"]))
    on_top = list(range(max(100, len(backlog) // 10)))
    through = len(backlog) + len(on_top)
    times = max(1, _JOBS_A_ROUND // through)

    def fill_and_drain() -> Sample:
        gate, first, last = Gate(), Stamp(), Stamp()
        held = competitor.submit_all([gate])
        gate.wait_until_held()
        below = competitor.submit_all([first, *backlog])
        with CollectorClock() as collector:
            submit = timed(competitor.submit_all, on_top)
        end = competitor.submit_all([last])
        gate.open()
        # The last first: a caller that waits for each in turn would be woken while the drain is measured.
        drain = timed(competitor.collect, end)
        answers = competitor.collect(held + below + submit.result)
        submit_each = submit.wall / len(on_top)
        drain_each = (last.time - first.time) / (through + 1)
        return Sample(
            submit_each + drain_each,
            submit.wall + drain.wall,
            submit.cpu + drain.cpu,
            through,
            mismatch(answers + drain.result, [gate, first, *backlog, *on_top, last]),
            {
                "submit us/job": submit_each * 1e6,
                _COLLECTOR: collector.seconds / len(on_top) * 1e6,
                "drain us/job": drain_each * 1e6,
            },
        )

    with competitor.opened(identity_or_errand, 1):
        fill_and_drain()
        yield lambda: _mean([fill_and_drain() for _ in range(times)])


def _mean(samples: list[Sample]) -> Sample:
    count = len(samples)
    return Sample(
        sum(sample.value for sample in samples) / count,
        sum(sample.wall for sample in samples),
        sum(sample.cpu for sample in samples),
        sum(sample.jobs for sample in samples),
        next((sample.wrong for sample in samples if sample.wrong), ""),
        {name: sum(sample.extra[name] for sample in samples) / count for name in samples[0].extra},
    )


SCENARIO = Scenario("queue-depth", "curve: cost against queue depth, 10 to 1,000,000", tables, prepare)
