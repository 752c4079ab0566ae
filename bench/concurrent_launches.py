"""What happens when eight Python threads start parallel loops at once, and when loops start loops.

``python bench/concurrent_launches.py``: each system in a process of its own; says what became of it. The exit
code is 1 unless loomy gave the right answers. With SYSTEM and CASE behind it, it is one of those processes.
"""

import importlib
import os
import signal
import subprocess
import sys
import threading
from typing import Any

from python.competitors import COMPETITORS, Loops
from python.competitors.loops import Loop

THREADS = 8
ROUNDS = 200
ITEMS = 100_000
PATIENCE = 120.0
"""Seconds until a process counts as hung."""

SYSTEMS = {
    "loomy": ("loomy-c", {}),
    "loomy, numba cfuncs": ("loomy-numba", {}),
    "numba, workqueue layer": ("numba", {"NUMBA_THREADING_LAYER": "workqueue"}),
    "numba, omp layer": ("numba", {"NUMBA_THREADING_LAYER": "omp"}),
    "OpenMP": ("openmp", {}),
    "numexpr": ("numexpr", {}),
}


def flat(system: Loops, number: int) -> tuple[Loop, Any, Any]:
    """A loop, what it writes to, and what must be there afterwards."""
    import numpy as np

    x, y, out = np.full(ITEMS, float(number)), np.arange(float(ITEMS)), np.zeros(ITEMS)
    return system.loop("saxpy", ITEMS, [x, y, out]), out, 2.5 * x + y


def nested(system: Loops, number: int) -> tuple[Loop, Any, Any]:
    """A loop over rows, each of which is a loop that is shared out again."""
    import numpy as np

    x, y, out = np.full((64, 512), float(number)), np.ones((64, 512)), np.zeros((64, 512))
    if system.name == "numba":
        rows = importlib.import_module("python.loops.for_numba").nested
        loop: Loop = lambda: rows(x, y, out)  # noqa: E731
    else:
        loop = system.loop("nested", len(x), [x, y, out])
    return loop, out, 2.5 * x + y


def run_here(name: str, case: str) -> None:
    make, count = CASES[case]
    system = COMPETITORS[name]()
    assert isinstance(system, Loops)
    errors: list[BaseException] = []
    start = threading.Barrier(count)

    def work(number: int) -> None:
        try:
            loop, out, right = make(system, number)
            loop()  # compiled
            start.wait(PATIENCE)
            for _ in range(ROUNDS):
                out.fill(0)
                loop()
                if not (out == right).all():
                    raise AssertionError("wrong answers")
        except BaseException as error:
            errors.append(error)
            start.abort()

    with system.opened(abs, 2):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


CASES = {
    f"{THREADS} threads at once": (flat, THREADS),
    "nested": (nested, 1),
    f"nested, {THREADS} threads at once": (nested, THREADS),
}
NESTING = ("loomy-c", "numba", "openmp")
"""Who can write a loop inside a loop."""


def outcome(label: str, case: str) -> str:
    name, environment = SYSTEMS[label]
    if missing := COMPETITORS[name].missing():
        return f"missing: {missing}"
    if CASES[case][0] is nested and name not in NESTING:
        return "cannot be written"
    try:
        done = subprocess.run(
            [sys.executable, __file__, name, case],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"HUNG: not done after {PATIENCE:.0f} s"
    if done.returncode == 0:
        return "right answers"
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    told = next(
        (line for line in said if "detected" in line or "does not support" in line), said[-1] if said else ""
    )
    if done.returncode < 0:
        return f"KILLED by {signal.Signals(-done.returncode).name}: {told}"
    return f"FAILED, exit code {done.returncode}: {told}"


def main() -> int:
    print(f"{ROUNDS} loops in each thread, 2 workers\n")
    print(f"| system | {' | '.join(CASES)} |\n|---|{'---|' * len(CASES)}")
    good = True
    for label in SYSTEMS:
        became = [outcome(label, case) for case in CASES]
        print(f"| {label} | {' | '.join(became)} |", flush=True)
        if label.startswith("loomy"):
            good = good and not any(word in text for text in became for word in ("HUNG", "KILLED", "FAILED"))
    return 0 if good else 1


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run_here(*sys.argv[1:])
    else:
        sys.exit(main())
