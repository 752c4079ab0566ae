"""NumPy ufuncs through `loomy.ufunc`: what a small call pays, what a large one gains."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..clock import Lap, timed
from ..competitors import Competitor
from ..model import Case, Measure, Options, Row, Sample, Scenario, Table, Target, Unit
from .common import WORKERS

_UFUNCS = ("add", "multiply", "sin", "exp", "hypot", "maximum")
_SIZES = (1, 10, 100, 1_000, 10_000, 30_000, 100_000, 1_000_000, 10_000_000)
_QUICK_SIZES = (1, 100_000, 1_000_000)

_TURNS = 30
_LARGE_TURNS = 10
_BESIDE = "of_numpy_in_turns"

_MICROSECONDS_A_CALL = Unit("us/call", 1e6)


def tables(options: Options) -> list[Table]:
    sizes = _QUICK_SIZES if options.quick else _SIZES
    return [
        Table(
            f"ufunc: np.{name} of {size:,} doubles into a given array",
            _MICROSECONDS_A_CALL,
            [
                Row("numpy", "sequential", {"ufunc": name, "size": size}),
                Row("loomy", "loomy", {"ufunc": name, "size": size}),
            ],
            reference="numpy",
            targets=[_beside(at_least=1.7) if (name, size) == ("sin", 10_000_000) else _beside(at_most=1.05)],
            notes=[
                f"{_BESIDE}: {_LARGE_TURNS} to {_TURNS} turns of each in one process, with the same "
                "memory and the same neighbours; the median of what the turns say. The row numpy has a "
                "process of its own."
            ],
            rounds=7,
        )
        for name in _UFUNCS
        for size in sizes
    ]


def _beside(*, at_most: float | None = None, at_least: float | None = None) -> Target:
    """A bound on loomy's time divided by NumPy's, or on how many times faster it is."""
    if at_least is not None:
        text = f"numpy / loomy, in one process >= {at_least:g}"
        return Target(text, lambda medians: 1 / medians["loomy"].extra(_BESIDE), at_least=at_least)
    text = f"loomy / numpy, in one process <= {at_most:g}"
    return Target(text, lambda medians: medians["loomy"].extra(_BESIDE), at_most=at_most)


def _repeat(call: Callable[..., Any], args: list[Any], out: Any, times: int) -> None:
    for _ in range(times):
        call(*args, out=out)


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    import numpy as np

    size: int = case["size"]
    plain = getattr(np, case["ufunc"])
    values = np.random.default_rng(1).random(size)
    args = [values] * plain.nin
    right, out = plain(*args), np.empty(size)
    times = max(1, min(1_000, 300_000 // size))
    turns = _TURNS if size <= 1_000_000 else _LARGE_TURNS
    with competitor.opened(abs, WORKERS):
        call = plain
        if competitor.name == "loomy":
            import loomy

            call = loomy.ufunc(plain)
        _repeat(call, args, out, max(8, times))  # the cost is learned, the workers are up

        def turn(function: Callable[..., Any]) -> Lap[None]:
            return timed(_repeat, function, args, out, times)

        def measure() -> Sample:
            out.fill(0)
            numpys, ours = [], []
            for i in range(turns):
                if call is plain:
                    ours.append(turn(plain))
                elif i % 2:  # who comes second finds the caches as the first has left them
                    ours.append(turn(call))
                    numpys.append(turn(plain))
                else:
                    numpys.append(turn(plain))
                    ours.append(turn(call))
            wrong = "" if out.tobytes() == right.tobytes() else "other bits than NumPy's"
            wall, cpu = sum(each.wall for each in ours), sum(each.cpu for each in ours)
            jobs = times * turns
            ratios = [mine.wall / numpy.wall for mine, numpy in zip(ours, numpys, strict=False)]
            extra = {_BESIDE: statistics.median(ratios)} if ratios else {}
            return Sample(wall / jobs, wall, cpu, jobs, wrong, extra)

        yield measure


SCENARIO = Scenario("ufunc", "NumPy ufuncs, small and large", tables, prepare)
