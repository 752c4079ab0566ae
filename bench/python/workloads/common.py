"""Building rows and checking answers, the same way in every workload."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..clock import Lap
from ..competitors import Competitor, Loomy
from ..model import Case, Row, Sample

WORKERS = 2
"""Pool size where a scenario does not give one: the two CPUs the targets are written for."""


AWAITED = "anyio and hypertile are left out: their jobs can only be awaited, as P7 does."


def rows(
    names: Iterable[str], case: Case | None = None, overrides: Mapping[str, Case] | None = None
) -> list[Row]:
    """One row per competitor, labelled with its name; an override replaces parts of the case for one."""
    return [Row(name, name, {**(case or {}), **(overrides or {}).get(name, {})}) for name in names]


def as_loomy(competitor: Competitor) -> Loomy:
    if not isinstance(competitor, Loomy):
        raise TypeError(f"this row is about loomy's own interface, not {competitor.name}'s")
    return competitor


def mismatch(answers: Sequence[Any], expected: Sequence[Any]) -> str:
    """Empty when both are equal, else the first difference."""
    if len(answers) != len(expected):
        return f"{len(answers)} answers for {len(expected)} jobs"
    for index, (answer, right) in enumerate(zip(answers, expected, strict=True)):
        if answer != right:
            return f"job {index}: answer {answer!r}, expected {right!r}"
    return ""


def per_job(lap: Lap[Any], jobs: int, wrong: str, **extra: float) -> Sample:
    return Sample(lap.wall / jobs, lap.wall, lap.cpu, jobs, wrong, extra)


def in_all(lap: Lap[Any], jobs: int, wrong: str, **extra: float) -> Sample:
    return Sample(lap.wall, lap.wall, lap.cpu, jobs, wrong, extra)
