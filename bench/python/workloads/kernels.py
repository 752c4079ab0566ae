"""Native loops over arrays on two CPUs: as kernels of loomy, and by those who have threads of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..clock import jobs_for, timed
from ..competitors import Competitor, Loops
from ..model import Case, Measure, Options, Row, Sample, Scenario, Table, Target, Unit, at_most, times_faster
from .common import WORKERS, per_job

_MICROSECONDS_A_LOOP = Unit("us/loop", 1e6)

_TITLES = {
    "horner": "a polynomial of degree 32 (compute-bound)",
    "saxpy": "saxpy into a third array (memory-bound)",
    "mandelbrot": "Mandelbrot set, rows of very different length (irregular)",
}
_SIZES = {
    "horner": (1_000, 10_000, 100_000, 1_000_000),
    "saxpy": (1_000, 10_000, 100_000, 1_000_000, 10_000_000),
    "mandelbrot": (16, 64, 512),
}
_QUICK_SIZES = {"horner": (1_000, 100_000), "saxpy": (10_000, 1_000_000), "mandelbrot": (64, 256)}

_ONE = "one thread"
_OURS = {"loomy: C kernel": "loomy-c", "loomy: numba cfunc": "loomy-numba"}
_PEERS = {"OpenMP": "openmp", "numba prange": "numba", "numexpr": "numexpr"}


def tables(options: Options) -> list[Table]:
    sizes = _QUICK_SIZES if options.quick else _SIZES
    return [_table(name, n, largest=n == max(sizes[name])) for name in _TITLES for n in sizes[name]]


def _table(name: str, n: int, largest: bool) -> Table:
    case = {"loop": name, "n": n}
    systems = {_ONE: "c", **_OURS, **_PEERS}
    notes = [
        "OpenMP and the thread alone run the C kernel's own code, with the same flags. They are given "
        "addresses, a kernel arrays that it checks."
    ]
    if name == "mandelbrot":
        del systems["numexpr"]
        notes.append("numexpr is left out: it has no loops.")
    targets: list[Target] = [
        at_most("loomy: C kernel", 1.1, to="OpenMP"),
        at_most("loomy: numba cfunc", 1.1, to="numba prange"),
        *([at_most("loomy: C kernel", 1.1, to="numexpr")] if "numexpr" in systems else []),
    ]
    if largest and name != "saxpy":
        targets.insert(0, times_faster("loomy: C kernel", 1.8, than=_ONE))
    what = f"{n:,} rows of {n:,}" if name == "mandelbrot" else f"{n:,} doubles"
    return Table(
        f"kernels: {_TITLES[name]}, {what}",
        _MICROSECONDS_A_LOOP,
        [Row(label, competitor, case) for label, competitor in systems.items()],
        reference=_ONE,
        targets=targets,
        notes=notes,
    )


def _arrays(name: str, n: int) -> tuple[list[Any], Any]:
    """What the loop gets, the last of them to be written; and what must be there afterwards."""
    import numpy as np

    random = np.random.default_rng(7)
    if name == "mandelbrot":
        return [np.zeros((n, n), np.int32)], _mandelbrot(n)
    x, y, out = random.random(n), random.random(n), np.zeros(n)
    if name == "saxpy":
        return [x, y, out], 2.5 * x + y
    right = np.ones(n)
    for _ in range(32):
        right = right * x + 0.5
    return [x, out], right


def _mandelbrot(side: int) -> Any:
    import numpy as np

    points = np.arange(side) * 2.5 / side
    c = -2.0 + points[None, :] + 1j * (-1.25 + points[:, None])
    z, steps = np.zeros_like(c), np.zeros(c.shape, np.int32)
    for _ in range(200):
        inside = z.real * z.real + z.imag * z.imag < 4.0
        steps[inside] += 1
        z[inside] = z[inside] * z[inside] + c[inside]
    return steps


def _wrong(name: str, out: Any, right: Any) -> str:
    """Compilers fuse a multiplication and an addition or not: sums differ in the last places, and a few
    points at the edge of the Mandelbrot set by much.
    """
    import numpy as np

    if name == "mandelbrot":
        others = np.count_nonzero(out != right)
        return f"{others} points are others" if others > 1 + right.size // 50 else ""
    return "" if np.allclose(out, right, rtol=1e-12) else "wrong sums"


def _repeat(loop: Callable[[], object], times: int) -> None:
    for _ in range(times):
        loop()


@contextmanager
def prepare(competitor: Competitor, case: Case) -> Iterator[Measure]:
    if not isinstance(competitor, Loops):
        raise TypeError(f"{competitor.name} runs no loops")
    name, n = case["loop"], case["n"]
    arrays, right = _arrays(name, n)
    out = arrays[-1]
    with competitor.opened(abs, WORKERS):
        loop = competitor.loop(name, n, arrays)
        loop()  # compiled, threads started
        times = jobs_for(0.05, lambda count: _repeat(loop, count), least=1)

        def measure() -> Sample:
            out.fill(0)
            lap = timed(_repeat, loop, times)
            return per_job(lap, times, _wrong(name, out, right))

        yield measure


SCENARIO = Scenario("kernels", "native loops over arrays, beside OpenMP, numba and numexpr", tables, prepare)
