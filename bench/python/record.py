"""Keeping a run: as JSON with every sample, and as tables between the marker comments of a Markdown file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .model import Medians, RowResult, Table, Target
from .report import figure_of, medians_of, render, verdict

BEGIN = "<!-- recorded run: begin -->"
END = "<!-- recorded run: end -->"


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


def check_markers(path: Path) -> None:
    """Before an hour of measuring, not after it."""
    text = path.read_text()
    if BEGIN not in text or END not in text or text.index(END) < text.index(BEGIN):
        raise ValueError(
            f"{path} has no line {BEGIN!r} followed by a line {END!r}; add them where the run should go"
        )


def write_markdown(path: Path, machine: dict[str, str], command: str, run: Run) -> None:
    text = path.read_text()
    head, rest = text.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    facts = [f"* {name}: {value}" for name, value in machine.items()]
    tables = [render(table.table, table.results) for table in run]
    body = "\n".join([f"`{command}`", "", *facts, "", *tables])
    path.write_text(f"{head}{BEGIN}\n\n{body}\n{END}{tail}")
