"""NumPy ufuncs through `loomy.ufunc`: what a small call pays, what a large one gains."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..clock import timed
from ..competitors import Competitor
from ..model import Case, Measure, Options, Row, Sample, Scenario, Table, Unit, at_most, times_faster
from .common import WORKERS, per_job

_UFUNCS = ("add", "multiply", "sin", "exp", "hypot", "maximum")
_SIZES = (1, 100, 1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 10_000_000)
_QUICK_SIZES = (1, 100_000, 1_000_000)

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
            targets=[
                times_faster("loomy", 1.7, than="numpy")
                if (name, size) == ("sin", 10_000_000)
                else at_most("loomy", 1.05, to="numpy")
            ],
            rounds=7,
        )
        for name in _UFUNCS
        for size in sizes
    ]


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
    times = max(1, min(20_000, 3_000_000 // size))
    with competitor.opened(abs, WORKERS):
        call = plain
        if competitor.name == "loomy":
            import loomy

            call = loomy.ufunc(plain)
        _repeat(call, args, out, max(8, times // 10))  # the cost is learned, the workers are up

        def measure() -> Sample:
            out.fill(0)
            lap = timed(_repeat, call, args, out, times)
            return per_job(lap, times, "" if out.tobytes() == right.tobytes() else "other bits than NumPy's")

        yield measure


SCENARIO = Scenario("ufunc", "NumPy ufuncs, small and large", tables, prepare)
