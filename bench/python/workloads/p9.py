"""P9: jobs that release the GIL, on two CPUs."""

import hashlib
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..clock import timed
from ..competitors import Competitor
from ..model import MICROSECONDS_A_JOB, Case, Measure, Options, Sample, Scenario, Table, at_most, times_faster
from .common import WORKERS, mismatch, per_job, rows

_BLOCK = 64 * 1024
_PEERS = ("stdlib", "mp", "joblib", "pebble", "mpire", "tbb4py", "dask", "anyio", "hypertile")


def sha256(block: bytes) -> bytes:
    return hashlib.sha256(block).digest()


def deflate(block: bytes) -> bytes:
    return zlib.compress(block)


_WORK: dict[str, Callable[[bytes], bytes]] = {"sha256": sha256, "zlib": deflate}


def tables(options: Options) -> list[Table]:
    counts = {"sha256": options.pick(4000, 400), "zlib": options.pick(300, 30)}
    return [
        Table(
            f"P9: {work} of {counts[work]:,} blocks of 64 KiB, {WORKERS} workers",
            MICROSECONDS_A_JOB,
            rows(
                ["sequential", "loomy", *_PEERS],
                {"work": work, "jobs": counts[work]},
            ),
            reference="sequential",
            targets=[
                times_faster("loomy", 1.8, than="sequential"),
                *(at_most("loomy", 1, to=peer) for peer in _PEERS),
            ],
            notes=["Needs two CPUs that nobody else is using: with one busy neighbour no pool reaches 1.8."],
        )
        for work in _WORK
    ]


def blocks() -> list[bytes]:
    """Sixteen blocks that compress about as well as text."""
    source = random.Random(9)
    words = [source.randbytes(source.randrange(3, 9)).hex().encode() for _ in range(2000)]
    return [b" ".join(source.choices(words, k=_BLOCK // 8))[:_BLOCK].ljust(_BLOCK) for _ in range(16)]


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    work = _WORK[case["work"]]
    kinds = blocks()
    jobs: int = case["jobs"]
    payloads = [kinds[index % len(kinds)] for index in range(jobs)]
    answers = [work(block) for block in kinds]
    right = [answers[index % len(kinds)] for index in range(jobs)]
    with competitor.opened(work, WORKERS):
        competitor.map(payloads[: 4 * WORKERS])

        def measure() -> Sample:
            lap = timed(competitor.map, payloads)
            return per_job(lap, jobs, mismatch(lap.result[0], right))

        yield measure


SCENARIO = Scenario("p9", "jobs that release the GIL", tables, prepare)
