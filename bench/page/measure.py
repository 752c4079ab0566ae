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


_ELSEWHERE = ("p15", "p1", "p2", "p3", "p4")
"""What the specification asks of a free-threaded Python: that it scales, and that P1 to P4 hold there."""
_SYSTEMS_ELSEWHERE = ("sequential", "loomy", "stdlib", "mp")
"""Those that the numbers are about; most others have no wheels for that Python."""


def measure(
    given_rounds: int | None,
    passes: int,
    quick: bool,
    native: bool,
    another: Path | None,
    expectation: Expectation,
) -> tuple[Json, int]:
    """What results.json will have; and the exit code: 1 when an answer was wrong or something crashed.

    Its seconds are all that the command takes: calibration, the native build and another Python included.
    """
    started = time.monotonic()
    facts = machine.describe()
    options = Options(quick, loops_per_microsecond())
    facts["systems"] = ", ".join(versions())
    facts["busy work"] = f"{options.loops_per_microsecond:.1f} loops a microsecond"
    rounds = given_rounds or ROUNDS
    plans = _plans(options, given_rounds, passes)
    native_rounds = shares(rounds, passes) if native else []
    building = 0.0
    if native:
        print("building the native benchmarks", file=sys.stderr)
        begun = time.monotonic()
        build(ROOT / "build" / "bench", None)
        building = time.monotonic() - begun
    expected = sum(expectation.of_table(table, some) for plan in plans for _, table, some in plan)
    expected += sum(expectation.of_suite(suite) for _ in native_rounds for suite in PROGRAMS)
    expected += expectation.elsewhere if another else 0
    also: list[Json] = []
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
        if another:
            bar.begin(f"on {another.name}", expectation.elsewhere, 1)
            try:
                elsewhere, wrong = on_another_python(another, given_rounds or ROUNDS, quick)
                also.append(elsewhere)
            except (
                RuntimeError,
                OSError,
            ) as failure:  # no reason to lose all figures
                print(failure, file=sys.stderr)
                wrong = True
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
        "build seconds": round(building),
        "also": also,
    }
    return results, exit_code(run) or int(crashed)


def _table(
    bar: Bar, expectation: Expectation, scenario: Scenario, table: Table, rounds: int
) -> record.TableRun:
    steps = max(1, rounds * len(table.rows))
    bar.begin(table.title, expectation.of_table(table, rounds), steps)
    return measure_table(scenario, table, rounds, lambda _: bar.step())


def on_another_python(interpreter: Path, rounds: int, quick: bool) -> tuple[Json, bool]:
    """The same workloads on another Python, which has loomy installed, and whether one of them failed;
    RuntimeError when there is nothing to tell.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.json"
        command = [str(interpreter), str(ROOT / "bench" / "run.py"), *_ELSEWHERE, "--json", str(file)]
        command += ["--competitors", ",".join(_SYSTEMS_ELSEWHERE), "--rounds", str(rounds)]
        command += ["--quick"] if quick else []
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_without_ours())
        if not file.exists():
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        results: Json = json.loads(file.read_text())
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
    return results | {"seconds": round(time.monotonic() - started)}, done.returncode != 0


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
