"""How often workers are woken while 10,000 jobs are submitted to eight idle ones."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from .. import procfs
from ..clock import timed
from ..competitors import Competitor, Loomy
from ..jobs import identity_or_errand
from ..model import Case, Measure, Options, Sample, Scenario, Table, Unit
from .common import mismatch, rows
from .warm import start_all_workers

_WORKERS = 8
_JOBS = 10_000


def tables(options: Options) -> list[Table]:
    return [
        Table(
            f"Wakes: {_JOBS:,} x process_async to {_WORKERS} idle workers, then collect",
            Unit("switches", 1),
            rows(["loomy", "stdlib", "mp", "pebble"]),
            reference="stdlib",
            notes=[
                "The figure is the voluntary context switches of all threads but the main one: how often a "
                "worker went to sleep, for the queue or for the GIL. wakes and parks are loomy's own count.",
                "There is no sequential row: it has no worker to wake.",
            ],
        )
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    payloads = list(range(_JOBS))
    with competitor.opened(identity_or_errand, _WORKERS):
        start_all_workers(competitor)

        def counters() -> dict[str, float]:
            if not isinstance(competitor, Loomy):
                return {}
            stats = competitor.stats()
            return {"wakes": stats.wakes, "parks": stats.parks}

        def measure() -> Sample:
            time.sleep(0.1)
            before, switches = counters(), procfs.other_threads_switches()
            submit = timed(competitor.submit_all, payloads)
            collect = timed(competitor.collect, submit.result)
            after = counters()
            slept = procfs.other_threads_switches().voluntary - switches.voluntary
            wall, cpu = submit.wall + collect.wall, submit.cpu + collect.cpu
            extra = {name: after[name] - before[name] for name in after} | {"us/job": wall / _JOBS * 1e6}
            return Sample(slept, wall, cpu, _JOBS, mismatch(collect.result, payloads), extra)

        yield measure


SCENARIO = Scenario("wakes", "wakes for 10,000 submits to eight idle workers", tables, prepare)
