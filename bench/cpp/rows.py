"""What the programs print, one JSON object a line, and the targets it is held against."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
"""suite, case, competitor; then median_ns, spread, wall_seconds, cpu_seconds, rounds, for some p50, p99 and
counts; or `skipped` or `failure`, with the reason. `note`: what it promises less, or how it differs.
"""

NAMES = ("suite", "case", "competitor", "note", "skipped", "failure")
COLUMNS = ("median_ns", "spread", "p50", "p99", "wall_seconds", "cpu_seconds", "rounds")

BATCH = "loomy, caller takes part"


@dataclass(frozen=True)
class Target:
    ours: str
    theirs: str
    at_most: float
    applies: Callable[[str], bool]
    """Of the name of a case."""


def _always(_: str) -> bool:
    return True


def _fan_out(case: str) -> bool:
    return case.startswith("fan-out")


TARGETS = {
    "C1": [
        Target("loomy", "boost::lockfree", 1, _always),
        Target("loomy", "oneTBB", 1, _always),
        Target("loomy", "mutex + deque", 1.15, _always),
    ],
    "C3": [
        Target("loomy", "mutex + condvar", 1, _always),
        Target(BATCH, "oneTBB task_group", 1, _fan_out),
    ],
    "C4": [
        Target("loomy", "sequential", 1 / 1.8, lambda case: case.startswith("compute-bound")),
        # "Level": two programs that do the same differ by so much from run to run.
        Target("loomy", "OpenMP", 1.1, lambda case: case.startswith(("compute-bound", "saxpy of 4,000,000"))),
    ],
}

AT_MOST_NS = {"empty chunk, one thread": 10, "launch with two arrays of 64": 600}
"""Cases with a target in nanoseconds."""


def extras(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row if name not in NAMES + COLUMNS))


def verdicts(rows: list[Row]) -> list[str]:
    """Of one case."""
    if not rows:
        return []
    case = str(rows[0]["case"])
    medians = {row["competitor"]: float(row["median_ns"]) for row in rows if "median_ns" in row}
    said = []
    if case in AT_MOST_NS and "loomy" in medians:
        met = "met" if medians["loomy"] <= AT_MOST_NS[case] else "MISSED"
        said.append(f"loomy <= {AT_MOST_NS[case]} ns: {medians['loomy']:.3g}, {met}")
    for target in TARGETS.get(str(rows[0]["suite"]), []):
        if not target.applies(case) or not medians.keys() >= {target.ours, target.theirs}:
            continue
        ratio = medians[target.ours] / medians[target.theirs]
        met = "met" if ratio <= target.at_most else "MISSED"
        said.append(f"{target.ours} / {target.theirs} <= {target.at_most:.3g}: {ratio:.3g}, {met}")
    return said
