"""Keeping a run: as JSON with every sample, and as tables between the marker comments of a Markdown file."""

import json
from dataclasses import asdict
from pathlib import Path

from .model import RowResult, Table
from .report import medians_of, render, verdict

BEGIN = "<!-- recorded run: begin -->"
END = "<!-- recorded run: end -->"

Run = list[tuple[Table, list[RowResult]]]


def write_json(path: Path, machine: dict[str, str], run: Run) -> None:
    tables = [
        {
            "title": table.title,
            "unit": table.unit.name,
            "reference": table.reference,
            "rows": [asdict(result) for result in results],
            "targets": [verdict(target, medians_of(results)) for target in table.targets],
        }
        for table, results in run
    ]
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
    tables = [render(table, results) for table, results in run]
    body = "\n".join([f"`{command}`", "", *facts, "", *tables])
    path.write_text(f"{head}{BEGIN}\n\n{body}\n{END}{tail}")
