"""The command line of ``python bench/run.py cpp``."""

import argparse
import json
import subprocess
from itertools import groupby
from pathlib import Path

from python import machine
from python.report import aligned, number

from .build import PROGRAMS, ROOT, build, program
from .rows import Row, extras, verdicts


def main(arguments: list[str]) -> int:
    given = _parser().parse_args(arguments)
    facts = {name: fact for name, fact in machine.describe().items() if name != "Python"}
    build(given.build, given.nanobench)
    rows: list[Row] = []
    crashed = False
    for suite in given.suites or PROGRAMS:
        command = [str(program(given.build, suite)), *_passed_on(given)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            for title, lines in groupby(map(json.loads, running.stdout), key=lambda row: str(row["case"])):
                of_case = list(lines)
                rows += of_case
                print(_table(f"{suite}: {title}", of_case), flush=True)
        crashed |= running.returncode != 0
    if given.json:
        given.json.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")
    return 1 if crashed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench/run.py cpp", description="Build and run the native benchmarks; see bench/README.md."
    )
    option = parser.add_argument
    option("suites", nargs="*", type=_suite, metavar="SUITE", help=f"of {', '.join(PROGRAMS)}; default: all")
    option("--case", action="append", default=[], metavar="TEXT", help="only cases with TEXT in their name")
    option("--only", action="append", default=[], metavar="COMPETITOR", help="only this one")
    option("--rounds", type=int, help="rounds per row, instead of 9")
    option("--json", type=Path, help="write all rows, with every round, to this file")
    option("--build", type=Path, default=ROOT / "build" / "bench", help="build folder (default: %(default)s)")
    option("--nanobench", type=Path, help="folder of nanobench.h, if neither installed nor to be downloaded")
    return parser


def _suite(text: str) -> str:
    if text.upper() not in PROGRAMS:
        raise argparse.ArgumentTypeError(f"unknown suite {text}; known: {', '.join(PROGRAMS)}")
    return text.upper()


def _passed_on(given: argparse.Namespace) -> list[str]:
    options = [word for text in given.case for word in ("--case", text)]
    options += [word for name in given.only for word in ("--only", name)]
    return options + (["--rounds", str(given.rounds)] if given.rounds else [])


def _table(title: str, rows: list[Row]) -> str:
    columns = extras(rows)
    header = ["system", "ns", "min .. max", "p50", "p99", "wall s", "cpu s", "x loomy", *columns]
    ours = next(
        (row["median_ns"] for row in rows if row["competitor"].startswith("loomy") and "median_ns" in row), 0
    )
    lines = [_cells(row, float(ours), columns, len(header)) for row in rows]
    said = [f"* target: {verdict}" for verdict in verdicts(rows)]
    notes = [f"* {row['competitor']}: {row['note']}" for row in rows if "note" in row]
    return "\n".join([f"### {title}", "", *aligned([header, *lines]), "", *said, *notes, ""])


def _cells(row: Row, ours: float, columns: list[str], width: int) -> list[str]:
    if "median_ns" not in row:
        words = f"skipped: {row['skipped']}" if "skipped" in row else f"FAILED: {row['failure']}"
        return [row["competitor"], words, *[""] * (width - 2)]
    low, high = row["spread"]
    return [
        row["competitor"],
        number(row["median_ns"]),
        f"{number(low)} .. {number(high)}",
        *(
            number(row[name]) if name in row else "-"
            for name in ("p50", "p99", "wall_seconds", "cpu_seconds")
        ),
        number(row["median_ns"] / ours) if ours else "-",
        *(number(row[name]) if name in row else "-" for name in columns),
    ]
