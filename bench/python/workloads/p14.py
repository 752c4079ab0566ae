"""P14: what hooks that only count add to a job, through each way of submitting one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..clock import jobs_for, timed
from ..competitors import Answers, Competitor, Loomy
from ..jobs import identity
from ..model import MICROSECONDS_A_JOB, Case, Measure, Medians, Options, Row, Sample, Scenario, Table, Target
from .common import per_job

_WAYS = {"process": "process", "batch": "process_batch", "async": "process_async, then collect"}
_WITHOUT = "loomy"
_WITH = "loomy, five hooks"


def _added_by_hooks(medians: Medians) -> float:
    return (medians[_WITH].median - medians[_WITHOUT].median) * 1e6


def tables(options: Options) -> list[Table]:
    seconds = 0.05 if options.quick else 0.25
    return [
        Table(
            f"P14: hooks that only count, through {call}",
            MICROSECONDS_A_JOB,
            [
                Row("sequential", "sequential", {"way": way, "seconds": seconds}),
                Row(_WITHOUT, "loomy", {"way": way, "seconds": seconds}),
                Row(_WITH, "loomy", {"way": way, "seconds": seconds, "hooks": True}),
            ],
            reference=_WITHOUT,
            targets=[Target("hooks add <= 0.4 us a job", _added_by_hooks, at_most=0.4)],
            notes=[
                "One worker, so that at most one job runs at a time and the counts are exact on every build."
            ],
        )
        for way, call in _WAYS.items()
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    hooks: Any = None
    if case.get("hooks") and isinstance(competitor, Loomy):
        from ..hooks import CountingHooks

        competitor.hooks = hooks = CountingHooks()

    def run(payloads: list[int]) -> Answers:
        if case["way"] == "process":
            return [competitor.roundtrip(payloads)], None
        if case["way"] == "batch":
            return competitor.map(payloads)
        return competitor.collect(competitor.submit_all(payloads)), None

    with competitor.opened(identity, 1):
        jobs = jobs_for(case["seconds"], lambda count: run(list(range(count))))
        payloads = list(range(jobs))

        def measure() -> Sample:
            before = hooks.jobs_seen() if hooks else (0, 0, 0)
            lap = timed(run, payloads)
            last = lap.result[0][-1]
            wrong = "" if last == jobs - 1 else f"last answer {last!r}, expected {jobs - 1}"
            after = hooks.jobs_seen() if hooks else (jobs, jobs, 0)
            seen = tuple(now - then for now, then in zip(after, before, strict=True))
            if seen != (jobs, jobs, 0):
                wrong = f"the hooks saw (start, complete, error) {seen} of {jobs} jobs"
            return per_job(lap, jobs, wrong)

        yield measure


SCENARIO = Scenario("p14", "hooks that only count", tables, prepare)
