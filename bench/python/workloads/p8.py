"""P8: the grid 1,000 tasks x 8 threads x work per task, with making and closing the pool inside the clock."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..clock import timed
from ..competitors import Answers, Competitor, Function
from ..jobs import busy, busy_answer, identity
from ..model import MILLISECONDS, Case, Measure, Medians, Options, Sample, Scenario, Table, Target, at_most
from .common import in_all, mismatch, rows

_TASKS = 1000
_THREADS = 8
_PEERS = ("stdlib", "mp", "joblib", "pebble", "mpire", "tbb4py", "dask", "anyio")
_SET_UP = "pool set-up ms"


def _of_sequential_and_set_up(medians: Medians) -> float:
    set_up = medians["loomy"].extra(_SET_UP) / 1e3
    return medians["loomy"].median / (medians["sequential"].median + set_up)


def tables(options: Options) -> list[Table]:
    return [_cell(work, options) for work in (0, 10, 100)]


def _cell(microseconds: int, options: Options) -> Table:
    work = f"{microseconds} us" if microseconds else "no-op"
    loops = round(microseconds * options.loops_per_microsecond)
    targets = [at_most("loomy", 1, to=peer) for peer in _PEERS]
    if microseconds:
        bound = "loomy / (sequential + pool set-up) <= 1.05"
        targets.append(Target(bound, _of_sequential_and_set_up, at_most=1.05))
    return Table(
        f"P8: {_TASKS:,} tasks x {_THREADS} threads x {work}, pool included",
        MILLISECONDS,
        rows(["sequential", "loomy", *_PEERS], {"loops": loops, "warm": options.pick(3, 1)}),
        reference="sequential",
        targets=targets,
        notes=[
            f"{_SET_UP}: making a pool, {_THREADS} no-ops through its map, closing it; in the same round.",
            f"The work of a task is {loops:,} loops of pure Python.",
            "mp uses its default chunks; the others that take chunks get the same number, four a worker.",
            "hypertile is left out: its pool can be made only once in a process, and not be closed.",
        ],
    )


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    loops: int = case["loops"]
    fn: Function = busy if loops else identity
    payloads = [loops] * _TASKS if loops else list(range(_TASKS))
    right = [busy_answer(loops)] * _TASKS if loops else payloads

    def whole_life(payloads: list[int]) -> Answers:
        with competitor.opened(fn, _THREADS):
            return competitor.map(payloads)

    def measure() -> Sample:
        set_up = timed(whole_life, [0] * _THREADS)
        lap = timed(whole_life, payloads)
        return in_all(lap, _TASKS, mismatch(lap.result[0], right), **{_SET_UP: set_up.wall * 1e3})

    for _ in range(case["warm"]):
        measure()
    yield measure


SCENARIO = Scenario("p8", "the grid of tasks, threads and work", tables, prepare)
