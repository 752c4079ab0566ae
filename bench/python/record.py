"""Keeping a run, with every sample."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .model import Medians, RowResult, Table, Target
from .report import figure_of, medians_of, verdict


@dataclass(frozen=True)
class TableRun:
    """A table, what was measured for it, and how long that took."""

    scenario: str
    table: Table
    results: list[RowResult]
    rounds: int
    seconds: float


Run = list[TableRun]


def as_json(run: TableRun) -> dict[str, Any]:
    table, medians = run.table, medians_of(run.results)
    return {
        "scenario": run.scenario,
        "title": table.title,
        "unit": asdict(table.unit),
        "reference": table.reference,
        "rows": [asdict(result) for result in run.results],
        "targets": [
            {"text": verdict(target, medians), "origin": target.origin, **_outcome(target, medians)}
            for target in table.targets
        ],
        "notes": table.notes,
        "rounds": run.rounds,
        "seconds": run.seconds,
    }


def _outcome(target: Target, medians: Medians) -> dict[str, Any]:
    figure = figure_of(target, medians)
    return {"figure": figure, "met": None if figure is None else target.met(figure)}


def write_json(path: Path, machine: dict[str, str], run: Run) -> None:
    tables = [as_json(table) for table in run]
    path.write_text(json.dumps({"machine": machine, "tables": tables}, indent=1) + "\n")
