"""Which of the specification's numbers were met: an outcome for each of P1 to P15, C1 to C4."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cpp.rows import verdicts

from .results import Json, free_threaded, native_cases, tables

_ON_ANY_BUILD = ("p1", "p2", "p3", "p4")
"""P15 asks that their ratios hold against the standard library of a free-threaded build."""
_AGAINST_ITS_LIBRARY = re.compile(r"\b(stdlib|mp)\b")

NUMBERS = (*(f"P{number}" for number in range(1, 16)), *(f"C{number}" for number in range(1, 5)))


@dataclass(frozen=True)
class Part:
    of: str
    """The table or case."""
    text: str
    met: bool | None
    """None when something that it needs was not measured."""


@dataclass(frozen=True)
class Outcome:
    number: str
    parts: list[Part]

    @property
    def word(self) -> str:
        if any(part.met is False for part in self.parts):
            missed = sum(part.met is False for part in self.parts)
            return f"missed in {missed} of {len(self.parts)}"
        if not any(part.met for part in self.parts):
            return "no number was asked for, or it was not measured" if self.parts else "nothing to meet here"
        if any(part.met is None for part in self.parts):
            return "met where measured"
        return "met"

    @property
    def met(self) -> bool | None:
        if any(part.met is False for part in self.parts):
            return False
        return True if any(part.met for part in self.parts) else None


def outcomes(results: Json) -> list[Outcome]:
    return [Outcome(number, list(_parts(results, number))) for number in NUMBERS]


def others(results: Json) -> Outcome:
    """Bounds of scenarios without a number in the specification: the curves, the kernels."""
    named = {number.lower() for number in NUMBERS}
    rest = [table for table in results["tables"] if table["scenario"] not in named]
    return Outcome("beyond", [part for table in rest for part in _of_table(table)])


def _parts(results: Json, number: str) -> Iterator[Part]:
    if number.startswith("C"):
        for case, rows in native_cases(results, number).items():
            for said in verdicts(rows):
                yield Part(case, _without_outcome(said), not said.endswith("MISSED"))
        return
    for table in tables(results, number.lower()):
        yield from _of_table(table)
    for run in results["also"]:
        yield from _elsewhere(run, number, f" on {run['machine']['Python'].rpartition(',')[0]}")


def _elsewhere(run: Json, number: str, where: str) -> Iterator[Part]:
    """What another Python says about a number; P1 to P4 of a free-threaded one are P15's."""
    if not free_threaded(run) or number.lower() not in _ON_ANY_BUILD:
        for table in tables(run, number.lower()):
            yield from _of_table(table, where)
    for scenario in _ON_ANY_BUILD if free_threaded(run) and number == "P15" else ():
        for table in tables(run, scenario):
            parts = _of_table(table, where)
            yield from (part for part in parts if _AGAINST_ITS_LIBRARY.search(part.text))


def _of_table(table: Json, where: str = "") -> Iterator[Part]:
    for target in table["targets"]:
        yield Part(table["title"] + where, _without_outcome(target["text"]), target["met"])


def _without_outcome(said: str) -> str:
    return re.sub(r", (met|MISSED)$", "", said)
