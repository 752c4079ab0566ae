"""P12: memory of 1,000,000 queued jobs, and whether it comes back."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import procfs
from ..clock import timed
from ..competitors import Competitor
from ..jobs import Gate, identity_or_errand
from ..model import BYTES_A_JOB, Case, Measure, Options, Row, Sample, Scenario, Table, Target, no_more_than
from .common import as_loomy, mismatch

_LEFT = "left after drain B/job"
_LOOMY = ("loomy async", "loomy batch_async")


def _memory_back(label: str) -> Target:
    return Target(
        f"{label}: left after the drain <= 10 % of the growth",
        lambda medians: medians[label].extra(_LEFT) / medians[label].median,
        at_most=0.1,
        origin="ours",
    )


def tables(options: Options) -> list[Table]:
    jobs = options.pick(1_000_000, 100_000)
    for_peers = options.pick(100_000, 50_000)

    return [
        Table(
            f"P12: memory of {jobs:,} queued jobs",
            BYTES_A_JOB,
            [
                Row("sequential", "sequential", {"jobs": jobs}),
                Row(_LOOMY[0], "loomy", {"jobs": jobs}),
                Row(_LOOMY[1], "loomy", {"jobs": jobs, "batch": True}),
                Row("stdlib", "stdlib", {"jobs": for_peers}),
                Row("mp", "mp", {"jobs": for_peers}),
                Row("pebble", "pebble", {"jobs": for_peers}),
                Row("tbb4py", "tbb4py", {"jobs": for_peers}),
            ],
            reference="stdlib",
            targets=[
                *(no_more_than(label, 250, BYTES_A_JOB) for label in _LOOMY),
                *(_memory_back(label) for label in _LOOMY),
            ],
            notes=[
                "Growth of the resident set while the only worker is held, divided by the jobs. "
                "Payloads exist before; results are the payloads. "
                "The caller's list of handles (8 B/job) is counted in.",
                f"sequential is that list alone. The peers queue {for_peers:,} jobs. "
                "mpire is left out: it pickles what it is given, so no job can hold its worker.",
                "Memory left is measured after every answer was collected and all handles were dropped; "
                "no malloc_trim.",
            ],
            fresh=True,
            rounds=3,
        )
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    payloads = list(range(case["jobs"]))

    def submit() -> Any:
        return (
            as_loomy(competitor).batch_async(payloads)
            if case.get("batch")
            else competitor.submit_all(payloads)
        )

    def collect(handles: Any) -> list[Any]:
        if case.get("batch"):
            results: list[Any]
            results, _errors = handles.wait()
            return results
        return competitor.collect(handles)

    def measure() -> Sample:
        competitor.collect(competitor.submit_all(payloads[:100]))
        gate = Gate()
        held: list[Any] = []
        if competitor.name != "sequential":
            held = competitor.submit_all([gate])
            gate.wait_until_held()
        gc.collect()
        before = procfs.resident_bytes()
        queued = timed(submit)
        full = procfs.resident_bytes()
        gate.open()
        answers = timed(collect, queued.result)
        competitor.collect(held)
        wall, cpu = queued.wall + answers.wall, queued.cpu + answers.cpu
        wrong = mismatch(answers.result, payloads)
        del queued, answers, held
        gc.collect()
        left = procfs.resident_bytes() - before
        jobs = len(payloads)
        return Sample((full - before) / jobs, wall, cpu, jobs, wrong, {_LEFT: left / jobs})

    with competitor.opened(identity_or_errand, 1):
        yield measure


SCENARIO = Scenario("p12", "memory of queued jobs", tables, prepare)
