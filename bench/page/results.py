"""What a whole run left, as results.json has it, and reading it back.

`machine`: facts by name. `command`, `rounds`, `seconds`: what was asked for, and how long it took. `tables`:
those of the Python workloads (python/record.py). `native`: the rows of the native programs (cpp/rows.py).
`also`: runs of the same workloads on other Pythons, each with `machine` and `tables`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

Json = dict[str, Any]

FORMAT = 1


@dataclass(frozen=True)
class Figure:
    """One row of one table, in the table's unit."""

    label: str
    competitor: str
    case: Json
    samples: list[float]
    missing: str
    """Empty, or why there is no figure."""
    of_table: Json

    @property
    def median(self) -> float:
        return median(self.samples)

    @property
    def low(self) -> float:
        return min(self.samples)

    @property
    def high(self) -> float:
        return max(self.samples)


def read(path: Path) -> Json:
    """ValueError when the file is not the results of a whole run."""
    results = json.loads(path.read_text())
    if not isinstance(results, dict) or results.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not what `python bench/run.py --all --report FOLDER` writes (format {FORMAT}); "
            "measure again with it"
        )
    return results


def busy(results: Json) -> str:
    """A warning, when others wanted the CPUs: then each hand-off between threads depends on who else does."""
    said = results["machine"].get("load before", "").split()
    load = float(said[0]) if said else 0.0
    if load <= 0.3:
        return ""
    return f" It was busy with other work (load {load:g}), so this record is provisional."


def free_threaded(run: Json) -> bool:
    return "free-threaded" in run["machine"]["Python"]


def tables(results: Json, scenario: str = "") -> list[Json]:
    return [table for table in results["tables"] if scenario in ("", table["scenario"])]


def figures(table: Json) -> list[Figure]:
    scale = table["unit"]["scale"]
    return [
        Figure(
            row["row"]["label"],
            row["row"]["competitor"],
            row["row"]["case"],
            [sample["value"] * scale for sample in row["samples"]],
            row["missing"] or row["failure"],
            table,
        )
        for row in table["rows"]
    ]


def measured(table: Json) -> list[Figure]:
    return [figure for figure in figures(table) if figure.samples and not figure.missing]


def native_cases(results: Json, suite: str, beginning: str = "") -> dict[str, list[Json]]:
    """The rows of each case, in the order in which they were measured."""
    cases: dict[str, list[Json]] = {}
    for row in results["native"]:
        if row["suite"] == suite and row["case"].startswith(beginning):
            cases.setdefault(row["case"], []).append(row)
    return cases


def missing(results: Json) -> Iterator[tuple[str, str]]:
    """Each competitor that is not there, with the reason, once."""
    seen = set()
    rows = [(figure.competitor, figure.missing) for table in results["tables"] for figure in figures(table)]
    rows += [(row["competitor"], row.get("skipped", "")) for row in results["native"]]
    for competitor, why in rows:
        if why and (competitor, why) not in seen:
            seen.add((competitor, why))
            yield competitor, why
