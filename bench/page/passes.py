"""Going over everything more than once, in fresh processes, and putting the passes together.

Rounds of one process agree better with each other than with those of another process ten minutes later: where
its memory lies, which threads met on which CPU and what else the machine did stay the same for a while. Only
passes show how much that is.
"""

import dataclasses
from statistics import median

from python.model import RowResult
from python.record import Run, TableRun

from .results import Json

ROUNDS = 3
"""Of a row, in a whole run; fewer where they are long."""
PASSES = 2
"""Over everything, which share the rounds."""


def shares(rounds: int, passes: int) -> list[int]:
    """How many of the rounds each pass does; none with none."""
    return [share for i in range(passes) if (share := rounds // passes + (i < rounds % passes))]


def together(passes: list[Run]) -> Run:
    """The tables of the first pass, with the rounds of all."""
    tables = {table.table.title: table for table in passes[0]}
    for later in passes[1:]:
        for table in later:
            tables[table.table.title] = _added(tables[table.table.title], table)
    return list(tables.values())


def _added(first: TableRun, later: TableRun) -> TableRun:
    results = [
        RowResult(
            one.row,
            one.samples + other.samples,
            one.missing or other.missing,
            one.failure or other.failure,
        )
        for one, other in zip(first.results, later.results, strict=True)
    ]
    rounds, seconds = first.rounds + later.rounds, first.seconds + later.seconds
    return dataclasses.replace(first, results=results, rounds=rounds, seconds=seconds)


def native_together(passes: list[list[Json]]) -> list[Json]:
    """Rows of the native programs by suite, case and competitor; one that failed once has failed."""
    rows: dict[tuple[str, str, str], list[Json]] = {}
    for each in passes:
        for row in each:
            rows.setdefault((row["suite"], row["case"], row["competitor"]), []).append(row)
    return [_native_row(same) for same in rows.values()]


def _native_row(same: list[Json]) -> Json:
    for row in same:
        if "median_ns" not in row:
            return row
    rounds = [value for row in same for value in row["rounds"]]
    numbers = {
        name: median(row[name] for row in same)
        for name, value in same[0].items()
        if isinstance(value, int | float) and all(name in row for row in same)
    }
    return {
        **same[0],
        **numbers,
        "median_ns": median(rounds),
        "spread": [min(rounds), max(rounds)],
        "rounds": rounds,
    }
