"""What a benchmark is made of: scenario > table > row > sample, and the targets of a table."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from .competitors.base import Competitor

Case = Mapping[str, Any]
"""Parameters of one row, JSON all through: they travel to the child process."""


@dataclass(frozen=True)
class Sample:
    """One round of one row."""

    value: float
    """What the table is about, in SI units: seconds (per job or in all), bytes, or a plain number."""
    wall: float
    """Seconds the measured section took."""
    cpu: float
    """CPU seconds of the whole process during the measured section."""
    jobs: int
    wrong: str = ""
    """Empty when the answers were right, else what was wrong with them."""
    extra: Mapping[str, float] = field(default_factory=dict)
    """Further columns; the name says the unit."""


Measure = Callable[[], Sample]
Prepare = Callable[[Competitor, Case], AbstractContextManager[Measure]]


@dataclass(frozen=True)
class Row:
    """One system in one table. Every row lives in a process of its own."""

    label: str
    competitor: str
    case: Case = field(default_factory=dict)


@dataclass
class RowResult:
    row: Row
    samples: list[Sample] = field(default_factory=list)
    missing: str = ""
    """Why the row has no samples, when that is nobody's fault: a package or a compiler is not installed."""
    failure: str = ""
    """What went wrong: a crash, a hang, or a wrong answer. Makes the run exit with 1."""

    @property
    def median(self) -> float:
        return median(sample.value for sample in self.samples)

    def spread(self) -> tuple[float, float]:
        values = [sample.value for sample in self.samples]
        return min(values), max(values)

    def median_of(self, column: Callable[[Sample], float]) -> float:
        return median(column(sample) for sample in self.samples)

    def extra(self, name: str) -> float:
        return self.median_of(lambda sample: sample.extra[name])

    def extra_names(self) -> list[str]:
        return list(self.samples[0].extra) if self.samples else []


class Medians(dict[str, RowResult]):
    """The measured rows of a table by label; KeyError for a row without figures means "not measured"."""

    def ratio(self, row: str, to: str) -> float:
        return self[row].median / self[to].median


@dataclass(frozen=True)
class Unit:
    name: str
    scale: float


MICROSECONDS_A_JOB = Unit("us/job", 1e6)
MILLISECONDS = Unit("ms", 1e3)
BYTES_A_JOB = Unit("B/job", 1)
MIB = Unit("MiB", 1 / 2**20)


@dataclass(frozen=True)
class Target:
    """A number the specification asks for (``origin="spec"``) or a bound of our own where it gives none."""

    text: str
    figure: Callable[[Medians], float]
    at_most: float | None = None
    at_least: float | None = None
    origin: str = "spec"

    def met(self, figure: float) -> bool:
        return (self.at_most is None or figure <= self.at_most) and (
            self.at_least is None or figure >= self.at_least
        )


def at_most(row: str, bound: float, to: str) -> Target:
    """``row`` may take at most ``bound`` times what ``to`` takes."""
    return Target(f"{row} / {to} <= {bound:g}", lambda medians: medians.ratio(row, to), at_most=bound)


def no_more_than(row: str, bound: float, unit: Unit, origin: str = "spec") -> Target:
    """The figure of ``row`` itself may be at most ``bound``."""
    figure = f"{row} <= {bound:g} {unit.name}"
    return Target(figure, lambda medians: medians[row].median * unit.scale, at_most=bound, origin=origin)


def at_most_own(row: str, bound: float, to: str) -> Target:
    """The specification says "must not grow" and gives no number; the bound leaves room for noise."""
    return Target(
        f"{row} / {to} <= {bound:g}", lambda medians: medians.ratio(row, to), at_most=bound, origin="ours"
    )


def times_faster(row: str, bound: float, than: str) -> Target:
    """``row`` must be at least ``bound`` times faster than ``than``."""
    return Target(f"{than} / {row} >= {bound:g}", lambda medians: medians.ratio(than, row), at_least=bound)


@dataclass(frozen=True)
class Table:
    title: str
    unit: Unit
    rows: list[Row]
    reference: str
    """Label of the row that the ratio column divides by."""
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fresh: bool = False
    """Start a new process for every round, for what a process can do only once (grow its heap)."""
    rounds: int | None = None
    """Overrides the number of rounds where one round is long."""


@dataclass(frozen=True)
class Options:
    """What the user asked for and the machine was found to be, before any row starts."""

    quick: bool
    loops_per_microsecond: float
    """How many iterations of jobs.busy take a microsecond here."""

    def pick(self, full: int, quick: int) -> int:
        return quick if self.quick else full


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    tables: Callable[[Options], list[Table]]
    prepare: Prepare
