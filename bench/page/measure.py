"""Measuring everything, with a bar that says how much longer it takes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cpp.build import PROGRAMS, ROOT, build, program
from python import machine, record
from python.cli import exit_code, measure_table, rounds_of, versions
from python.jobs import loops_per_microsecond
from python.model import Options, Scenario, Table
from python.workloads import SCENARIOS

from .passes import ROUNDS, native_together, shares, together
from .results import FORMAT, Json
from .timing import Bar, Expectation

_OF_ONE_TABLE = dict.fromkeys(
    (
        "p3",
        "p4",
        "p5",
        "p6",
        "p7",
        "p8",
        "p9",
        "p10",
        "p11",
        "p12",
        "p13",
        "idle-workers",
        "queue-depth",
        "pool-age",
        "kernels",
    ),
    2,
)
"""Scenarios whose rounds are long, or which have many rows."""


def measure(
    given_rounds: int | None, passes: int, quick: bool, native: bool, expectation: Expectation
) -> tuple[Json, int]:
    """What results.json will have; and the exit code: 1 when an answer was wrong or something crashed."""
    facts = machine.describe()
    options = Options(quick, loops_per_microsecond())
    facts["systems"] = ", ".join(versions())
    facts["busy work"] = f"{options.loops_per_microsecond:.1f} loops a microsecond"
    rounds = given_rounds or ROUNDS
    plans = _plans(options, given_rounds, passes)
    native_rounds = shares(rounds, passes) if native else []
    if native:
        print("building the native benchmarks", file=sys.stderr)
        build(ROOT / "build" / "bench", None)
    started = time.monotonic()
    expected = sum(expectation.of_table(table, some) for plan in plans for _, table, some in plan)
    expected += sum(expectation.of_suite(suite) for _ in native_rounds for suite in PROGRAMS)
    runs: list[record.Run] = []
    rows: list[list[Json]] = []
    crashed = False
    seconds = dict.fromkeys(PROGRAMS, 0.0) if native else {}
    with Bar(expected) as bar:
        for number, plan in enumerate(plans):
            runs.append([_table(bar, expectation, *each) for each in plan])
            for suite in PROGRAMS if number < len(native_rounds) else ():
                bar.begin(f"native {suite}", expectation.of_suite(suite), 1)
                begun = time.monotonic()
                measured, wrong = _native(suite, native_rounds[number])
                seconds[suite] += (time.monotonic() - begun) / len(native_rounds)
                rows.append(measured)
                crashed |= wrong
    run = together(runs)
    results = {
        "format": FORMAT,
        "machine": facts,
        "command": " ".join(["python", "bench/run.py", *sys.argv[1:]]),
        "rounds": rounds,
        "passes": len(plans),
        "seconds": round(time.monotonic() - started),
        "tables": [record.as_json(table) for table in run],
        "native": native_together(rows),
        "native seconds": seconds,
        "also": [],
    }
    return results, exit_code(run) or int(crashed)


def _table(
    bar: Bar, expectation: Expectation, scenario: Scenario, table: Table, rounds: int
) -> record.TableRun:
    steps = max(1, rounds * len(table.rows))
    bar.begin(table.title, expectation.of_table(table, rounds), steps)
    return measure_table(scenario, table, rounds, lambda _: bar.step())


def on_another_python(interpreter: Path, rounds: int | None, scenarios: list[str]) -> Json:
    """The same workloads on another Python, which has loomy installed; RuntimeError when that fails."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.json"
        command = [str(interpreter), str(ROOT / "bench" / "run.py"), *scenarios, "--json", str(file)]
        command += ["--rounds", str(rounds or ROUNDS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_without_ours())
        if not file.exists():
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        results: Json = json.loads(file.read_text())
    return results


def _without_ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def _plans(
    options: Options, given_rounds: int | None, passes: int
) -> list[list[tuple[Scenario, Table, int]]]:
    """What each pass measures."""
    plans: list[list[tuple[Scenario, Table, int]]] = [[] for _ in shares(given_rounds or ROUNDS, passes)]
    for scenario in SCENARIOS.values():
        for table in scenario.tables(options):
            most = min(ROUNDS, _OF_ONE_TABLE.get(scenario.name, ROUNDS))
            rounds = given_rounds or min(most, rounds_of(table, None, options.quick))
            for plan, share in zip(plans, shares(rounds, passes), strict=False):
                plan.append((scenario, table, share))
    return plans


def _native(suite: str, rounds: int) -> tuple[list[Json], bool]:
    command = [str(program(ROOT / "build" / "bench", suite)), "--rounds", str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode != 0
