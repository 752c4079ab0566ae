"""P5: map over a generator: what an item costs beyond the generator, and how much memory a long one takes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

from .. import procfs
from ..clock import timed
from ..competitors import Competitor, Loomy
from ..jobs import identity
from ..model import (
    MIB,
    MICROSECONDS_A_JOB,
    Case,
    Measure,
    Medians,
    Options,
    Row,
    Sample,
    Scenario,
    Table,
    Target,
    no_more_than,
)
from .common import WORKERS, per_job

_ALONE = "generator alone"
_LOOMY = "loomy"
_UNORDERED = "loomy unordered"


def _beyond_the_generator(medians: Medians) -> float:
    return (medians[_LOOMY].median - medians[_ALONE].median) * 1e6


def tables(options: Options) -> list[Table]:
    items = options.pick(200_000, 20_000)
    long = options.pick(10_000_000, 1_000_000)
    case = {"items": items}
    return [
        Table(
            f"P5: map over a generator of {items:,} items",
            MICROSECONDS_A_JOB,
            [
                Row(_ALONE, "sequential", case | {"call": False}),
                Row("sequential", "sequential", case),
                Row(_LOOMY, "loomy", case),
                Row(_UNORDERED, "loomy", case | {"ordered": False}),
                Row("mp imap, chunks of 256", "mp", case),
                Row("joblib generator, chunks of 256", "joblib", case),
                Row("pebble map, chunks of 256", "pebble", case),
                Row("stdlib map", "stdlib", case),
                Row("mpire imap, chunks of 256", "mpire", case | {"items": items // 10}),
                Row("tbb4py imap, chunks of 256", "tbb4py", case | {"items": items // 10}),
            ],
            reference=_ALONE,
            targets=[Target("loomy - generator alone <= 0.5 us an item", _beyond_the_generator, at_most=0.5)],
            notes=[
                "Every row is consumed by sum(), whose total checks the answers. "
                "sequential is map(f, generator).",
                f"mpire and tbb4py: {items // 10:,} items, because they take tens of microseconds for each. "
                "dask, anyio and hypertile offer no lazy map.",
            ],
        ),
        Table(
            f"P5: memory over {long:,} items",
            MIB,
            [
                Row(_LOOMY, "loomy", {"memory": True, "items": long}),
                Row(_UNORDERED, "loomy", {"memory": True, "items": long, "ordered": False}),
                Row("joblib generator", "joblib", {"memory": True, "items": long // 4}),
                Row("sequential", "sequential", {"memory": True, "items": long}),
            ],
            reference="sequential",
            targets=[no_more_than(label, 4, MIB, origin="ours") for label in (_LOOMY, _UNORDERED)],
            notes=[
                "Growth of the resident set from one hundredth of the way to its highest point, "
                f"looked at 100 times. joblib gets {long // 4:,} items, at over a microsecond each.",
                "stdlib (before 3.14), mp and pebble read the whole iterable first, so they are not here.",
            ],
            fresh=True,
            rounds=1,
        ),
    ]


def _generate(items: int) -> Iterator[int]:
    yield from range(items)


def _resident_growth(answers: Iterator[int], items: int) -> tuple[int, int]:
    """The sum of all answers, and by how many bytes the process grew after the first hundredth of them."""
    step = items // 100
    total = sum(islice(answers, step))
    first = highest = procfs.resident_bytes()
    for _ in range(99):
        total += sum(islice(answers, step))
        highest = max(highest, procfs.resident_bytes())
    return total, highest - first


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    items: int = case["items"]
    right = items * (items - 1) // 2
    if isinstance(competitor, Loomy):
        competitor.ordered = case.get("ordered", True)
    source = competitor.imap if case.get("call", True) else iter
    with competitor.opened(identity, WORKERS):

        def consume(stream: Iterable[int]) -> int:
            return sum(source(stream))

        def measure_time() -> Sample:
            lap = timed(consume, _generate(items))
            return per_job(lap, items, "" if lap.result == right else f"sum {lap.result}, expected {right}")

        def measure_memory() -> Sample:
            lap = timed(_resident_growth, source(_generate(items)), items)
            total, growth = lap.result
            wrong = "" if total == right else f"sum {total}, expected {right}"
            return Sample(growth, lap.wall, lap.cpu, items, wrong, {"us/item": lap.wall / items * 1e6})

        consume(_generate(1000))
        yield measure_memory if case.get("memory") else measure_time


SCENARIO = Scenario("p5", "map over a generator", tables, prepare)
