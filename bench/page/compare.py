"""Two runs side by side. What the passes of both differ by among themselves is no change."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from python.report import number

from . import html
from .results import Figure, Json, measured

_RANGE_IN_DEVIATIONS = {2: 1.13, 3: 1.69, 4: 2.06, 5: 2.33, 6: 2.53, 7: 2.70, 8: 2.85, 9: 2.97}
"""How far apart the lowest and the highest of so many rounds are expected, in standard deviations: the d2 of
control charts."""

_MEDIAN_ERROR = 1.25
"""Of a median, as a multiple of that of a mean."""

_CERTAIN = 3.0
"""So many standard errors are no chance: of a thousand rows that stayed the same, some three look changed."""

_TOO_LITTLE = 0.01
"""Whatever the rounds say: the layout of a process in memory is worth more."""


@dataclass(frozen=True)
class Change:
    where: str
    system: str
    before: Figure
    now: Figure
    passes: int
    """Of the run with fewer; 1 when its rounds are all that tells how much a figure moves by itself."""
    machine: float
    """How much longer the rows of its table took: a virtual machine has fast and slow hours."""

    @property
    def ratio(self) -> float:
        """Of the medians, beyond the machine's."""
        if not self.before.median or not self.now.median:
            return math.nan
        return self.now.median / self.before.median / self.machine

    @property
    def word(self) -> str:
        """All that is compared is a cost: more is worse."""
        doubt = _CERTAIN * math.hypot(_doubt(self.before, self.passes), _doubt(self.now, self.passes))
        if math.isnan(self.ratio) or abs(math.log(self.ratio)) <= max(doubt, _TOO_LITTLE):
            return "within the noise"
        if self.now.low / self.machine > self.before.high:
            return "slower"
        if self.now.high / self.machine < self.before.low:
            return "faster"
        return "within the noise"


def _doubt(figure: Figure, passes: int) -> float:
    """The standard error of the median, relative to it. The rounds of one pass are not independent."""
    rounds = len(figure.samples)
    if rounds < 2:
        return math.inf
    independent = min(rounds, passes if passes > 1 else rounds, 9)
    deviation = (figure.high - figure.low) / _RANGE_IN_DEVIATIONS[independent]
    return _MEDIAN_ERROR * deviation / math.sqrt(independent) / figure.median


def changes(old: Json, new: Json, ours_only: bool = False) -> list[Change]:
    """Of every row that both runs have, the largest first."""
    before = dict(_by_place(old))
    passes = min(old.get("passes", 1), new.get("passes", 1))
    pairs = [(key, before[key], figure) for key, figure in _by_place(new) if key in before]
    ratios: dict[str, list[float]] = {}
    for (where, _), then, now in pairs:
        if then.median and now.median:
            ratios.setdefault(where, []).append(now.median / then.median)
    found = [
        Change(where, system, then, now, passes, median(ratios.get(where, [1.0])))
        for (where, system), then, now in pairs
        if not ours_only or now.competitor in ("loomy", "executor")
    ]
    return sorted(found, key=lambda change: -abs(change.ratio - 1) if change.ratio == change.ratio else 0)


def _by_place(results: Json) -> Iterator[tuple[tuple[str, str], Figure]]:
    for table in results["tables"]:
        for figure in measured(table):
            yield (table["title"], figure.label), figure
    for row in results["native"]:
        if "median_ns" in row:
            title = f"{row['suite']}: {row['case']}"
            rounds = row.get("rounds", [row["median_ns"], *row["spread"]])
            yield (title, row["competitor"]), Figure(row["competitor"], row["competitor"], {}, rounds, "", {})


def _pace(found: list[Change]) -> str:
    paces = sorted({change.where: change.machine for change in found}.values())
    return f"{median(paces):.2f} x as long as before, {paces[0]:.2f} to {paces[-1]:.2f} x by table"


def summary(found: list[Change]) -> str:
    """For the terminal: what changed, then how much stayed."""
    told = [change for change in found if change.word != "within the noise"]
    lines = [
        f"{change.word}: {change.where}: {change.system}: {number(change.before.median)} "
        f"[{number(change.before.low)} .. {number(change.before.high)}] -> {number(change.now.median)} "
        f"[{number(change.now.low)} .. {number(change.now.high)}], x {change.ratio:.2f}"
        for change in told
    ]
    if found:
        lines.insert(0, f"the machine: {_pace(found)}, taken out of all ratios")
    lines.append(f"{len(found) - len(told)} of {len(found)} rows are within the noise of both runs")
    return "\n".join(lines)


def comparison(found: list[Change]) -> str:
    told = [change for change in found if change.word != "within the noise"]
    rows = [
        html.row(
            [
                html.cell(change.system),
                html.cell(change.where, "words"),
                html.cell(f"{number(change.before.low)} .. {number(change.before.high)}"),
                html.cell(f"{number(change.now.low)} .. {number(change.now.high)}"),
                html.cell(f"{change.ratio:.2f}"),
                html.cell(change.word, "met" if change.word == "faster" else "missed"),
            ]
        )
        for change in told
    ]
    stayed = f"{len(found) - len(told)} of {len(found)} rows are within the noise of both runs."
    pace = f" The machine: {_pace(found)}, which is taken out." if found else ""
    rule = " A row has changed when its rounds lie apart and its median moved by three standard errors."
    same = f"<p>{stayed}{pace}{rule}</p>"
    header = ["system", "where", "before", "now", "ratio of medians", "change"]
    return (html.table(header, rows) if rows else "") + same
