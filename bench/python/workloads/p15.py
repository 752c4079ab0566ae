"""P15: scaling with workers: work that releases the GIL, and pure Python, which only scales without one."""

import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .. import machine
from ..clock import timed
from ..competitors import Competitor
from ..jobs import busy
from ..model import MILLISECONDS, Case, Measure, Options, Row, Sample, Scenario, Table, Target, times_faster
from .common import in_all, mismatch
from .p9 import blocks, sha256

_SYSTEMS = ("loomy", "stdlib")
_WORK: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "sha256": ("SHA-256 of 64 KiB, without the GIL", sha256),
    "python": ("pure Python, 1 ms a job", busy),
}


def _sizes() -> list[int]:
    """1, 2, 4 ... up to the CPUs that there are, and 2 in any case."""
    cpus = max(2, len(machine.usable_cpus()))
    return [2**power for power in range(cpus.bit_length()) if 2**power <= cpus]


def _targets(work: str) -> list[Target]:
    """Under the GIL two threads of pure Python cannot be faster than one, whoever makes them."""
    if work == "python" and not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return []
    return [times_faster("loomy, 2 workers", 1.8, than="sequential")]


def tables(options: Options) -> list[Table]:
    jobs = {"sha256": options.pick(2000, 200), "python": options.pick(100, 20)}
    loops = round(1000 * options.loops_per_microsecond)

    def row(name: str, size: int, work: str) -> Row:
        case = {"work": work, "jobs": jobs[work], "loops": loops, "size": size}
        return Row(f"{name}, {size} worker{'s' if size != 1 else ''}" if size else name, name, case)

    return [
        Table(
            f"P15: scaling, {jobs[work]:,} jobs of {description}",
            MILLISECONDS,
            [row("sequential", 0, work)] + [row(name, size, work) for size in _sizes() for name in _SYSTEMS],
            reference="sequential",
            targets=_targets(work),
            notes=["A batch of loomy, a map of the stdlib's executor."],
        )
        for work, (description, _) in _WORK.items()
    ]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    _, fn = _WORK[case["work"]]
    jobs: int = case["jobs"]
    kinds: list[Any] = blocks() if case["work"] == "sha256" else [case["loops"]]
    payloads = [kinds[index % len(kinds)] for index in range(jobs)]
    answers = [fn(kind) for kind in kinds]
    right = [answers[index % len(kinds)] for index in range(jobs)]
    with competitor.opened(fn, case["size"]):
        competitor.map(payloads[: 4 * max(1, case["size"])])

        def measure() -> Sample:
            lap = timed(competitor.map, payloads)
            return in_all(lap, jobs, mismatch(lap.result[0], right))

        yield measure


SCENARIO = Scenario("p15", "scaling with workers", tables, prepare)
