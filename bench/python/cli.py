"""The command line of bench/run.py."""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import machine, record
from .competitors import COMPETITORS
from .driver import run_table
from .jobs import loops_per_microsecond
from .model import Options, Scenario, Table
from .report import render
from .workloads import SCENARIOS


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    if given.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:13} {scenario.title}")
        return 0
    facts = machine.describe()
    options = Options(given.quick, loops_per_microsecond())
    facts["systems"] = ", ".join(versions())
    facts["busy work"] = f"{options.loops_per_microsecond:.1f} loops a microsecond"
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), end="\n\n")

    run: record.Run = []
    for scenario in _chosen(given.scenarios):
        for table in scenario.tables(options):
            kept = _only(table, given.competitors)
            if kept.rows:
                measured = measure_table(scenario, kept, rounds_of(kept, given.rounds, given.quick), _say)
                run.append(measured)
                _say("")
                print(render(kept, measured.results), flush=True)

    if given.json:
        record.write_json(given.json, facts, run)
    return exit_code(run)


def exit_code(run: record.Run) -> int:
    """A wrong answer or a crash is a failure; a missed target is a finding."""
    failed = [(each.table, result) for each in run for result in each.results if result.failure]
    for table, result in failed:
        print(f"FAILED {table.title}: {result.row.label}: {result.failure}", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure loomy beside other pools; see bench/README.md.")
    option = parser.add_argument
    option("scenarios", nargs="*", type=_scenario, metavar="SCENARIO", help="default: all of --list")
    option("--list", action="store_true", help="name the scenarios and stop")
    option("--quick", action="store_true", help="fewer and smaller rounds: a look, not a result")
    option("--rounds", type=int, help="rounds per row, instead of 7 (3 with --quick) or a table's own number")
    option("--competitors", type=_names, default=list(COMPETITORS), help=f"of {','.join(COMPETITORS)}")
    option("--json", type=Path, help="write every sample to this file")
    return parser


def versions() -> Iterator[str]:
    for name, competitor in COMPETITORS.items():
        if competitor.module:
            yield f"{name} {'(missing)' if competitor.missing() else competitor.version()}"


def _scenario(text: str) -> str:
    if text.lower() not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"unknown scenario {text}; known: {', '.join(SCENARIOS)}")
    return text.lower()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := sorted(set(names) - set(COMPETITORS)):
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; known: {', '.join(COMPETITORS)}")
    return names


def _chosen(names: list[str]) -> list[Scenario]:
    return [SCENARIOS[name] for name in names] or list(SCENARIOS.values())


def _only(table: Table, competitors: list[str]) -> Table:
    return dataclasses.replace(table, rows=[row for row in table.rows if row.competitor in competitors])


def rounds_of(table: Table, asked: int | None, quick: bool) -> int:
    if asked:
        return asked
    default = 3 if quick else 7
    return min(default, table.rounds or default)


def measure_table(
    scenario: Scenario, table: Table, rounds: int, say: Callable[[str], None]
) -> record.TableRun:
    start = time.monotonic()
    results = run_table(scenario, table, rounds, say)
    return record.TableRun(scenario.name, table, results, rounds, time.monotonic() - start)


def _say(text: str) -> None:
    """Progress, on one line of a terminal that is not part of the output."""
    if sys.stderr.isatty():
        line = f"{time.strftime('%H:%M:%S')} {text}" if text else ""
        print(f"\r\x1b[2K{line}", end="", file=sys.stderr, flush=True)
