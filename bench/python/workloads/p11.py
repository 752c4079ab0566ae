"""P11: what eight workers with nothing to do cost in five seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from .. import procfs
from ..clock import timed
from ..competitors import Competitor, Sequential
from ..jobs import identity_or_errand
from ..model import MILLISECONDS, Case, Measure, Options, Sample, Scenario, Table, Target, no_more_than
from .common import mismatch, rows
from .warm import start_all_workers

_WORKERS = 8
_VOLUNTARY = "voluntary switches"
_INVOLUNTARY = "involuntary switches"


def tables(options: Options) -> list[Table]:
    seconds = options.pick(5, 1)
    return [
        Table(
            f"P11: CPU time of {_WORKERS} idle workers in {seconds} s",
            MILLISECONDS,
            rows(
                ["sequential", "loomy", "stdlib", "mp", "pebble", "tbb4py"],
                {"seconds": seconds},
            ),
            reference="sequential",
            targets=[
                no_more_than("loomy", 5, MILLISECONDS),
                Target(
                    "loomy: no context switches of its threads",
                    lambda medians: medians["loomy"].extra(_VOLUNTARY) + medians["loomy"].extra(_INVOLUNTARY),
                    at_most=0,
                ),
            ],
            notes=[
                "CPU is the whole process, including the main thread, which sleeps once for the whole time; "
                "sequential has no other thread.",
                "Switches are those of all threads but the main one, from /proc/self/task/*/status. "
                "All workers have run a job before and had 0.2 s to come to rest.",
                "Left out are dask, whose pool is the standard library's; joblib, whose pool is mp; anyio, "
                "whose threads end with their task; mpire, which pickles what it is given, so no job can "
                "hold its workers; hypertile, which does not give each of eight jobs a worker of its own.",
            ],
            rounds=3,
        )
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    with competitor.opened(identity_or_errand, _WORKERS):
        if not isinstance(competitor, Sequential):
            start_all_workers(competitor)

        def measure() -> Sample:
            time.sleep(0.2)
            before = procfs.other_threads_switches()
            lap = timed(time.sleep, case["seconds"])
            after = procfs.other_threads_switches()
            payloads = list(range(100))
            return Sample(
                lap.cpu,
                lap.wall,
                lap.cpu,
                0,
                mismatch(competitor.map(payloads)[0], payloads),
                {
                    "threads": after.threads,
                    _VOLUNTARY: after.voluntary - before.voluntary,
                    _INVOLUNTARY: after.involuntary - before.involuntary,
                },
            )

        yield measure


SCENARIO = Scenario("p11", "an idle pool", tables, prepare)
