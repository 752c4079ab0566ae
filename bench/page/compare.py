"""Two runs side by side. What the passes of a run differ by among themselves is no change.

Rounds of one process agree better than processes started ten minutes apart, and two runs are such processes:
what the medians of a row differ by from pass to pass tells how far two runs of the same may lie apart.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from python.report import number

from . import html
from .passes import shares
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
    doubt: float
    """The standard error of the ratio, relative to it."""
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
        if math.isnan(self.ratio) or abs(math.log(self.ratio)) <= max(_CERTAIN * self.doubt, _TOO_LITTLE):
            return "within the noise"
        if self.now.low / self.machine > self.before.high:
            return "slower"
        if self.now.high / self.machine < self.before.low:
            return "faster"
        return "within the noise"


Place = tuple[str, str]
"""A table or case, and a row of it."""


@dataclass(frozen=True)
class _Moves:
    """By how much rows of one run differ from pass to pass: deviations of the logarithm, with the pace of
    their table taken out, as it is between runs. A run of one pass cannot say.
    """

    passes: int
    of_row: dict[Place, float]
    of_table: dict[str, float]
    """The root of the mean square over its rows: of one row, two passes say little."""


def changes(old: Json, new: Json, ours_only: bool = False) -> list[Change]:
    """Of every row that both runs have, the largest first."""
    before = dict(_by_place(old))
    moves = (_moves(old), _moves(new))
    pairs = [(place, before[place], figure) for place, figure in _by_place(new) if place in before]
    ratios: dict[str, list[float]] = {}
    for (where, _), then, now in pairs:
        if then.median and now.median:
            ratios.setdefault(where, []).append(now.median / then.median)
    found = [
        Change(*place, then, now, _doubt(place, (then, now), moves), median(ratios.get(place[0], [1.0])))
        for place, then, now in pairs
        if not ours_only or now.competitor in ("loomy", "executor")
    ]
    return sorted(found, key=lambda change: -abs(change.ratio - 1) if change.ratio == change.ratio else 0)


def _doubt(place: Place, figures: tuple[Figure, Figure], moves: tuple[_Moves, _Moves]) -> float:
    """From pass to pass, where a run tells; whichever is more, of this row or of its table."""
    known = [each for each in moves if place in each.of_row]
    if not known:
        return math.hypot(*(_doubt_of_rounds(figure) for figure in figures))
    of_row = _root_mean_square([each.of_row[place] for each in known])
    of_table = _root_mean_square([each.of_table[place[0]] for each in known])
    return max(of_row, of_table) * math.sqrt(sum(1 / each.passes for each in moves))


def _doubt_of_rounds(figure: Figure) -> float:
    """The standard error of a median, relative to it, as if rounds of one process were independent."""
    rounds = min(len(figure.samples), 9)
    if rounds < 2 or not figure.median:
        return math.inf
    deviation = (figure.high - figure.low) / _RANGE_IN_DEVIATIONS[rounds]
    return _MEDIAN_ERROR * deviation / math.sqrt(rounds) / figure.median


def _moves(run: Json) -> _Moves:
    passes = run.get("passes", 1)
    logarithms: dict[str, dict[str, list[float]]] = {}
    for (where, system), figure in _by_place(run):
        medians = _of_passes(figure.samples, passes)
        if len(medians) > 1 and min(medians) > 0:
            logarithms.setdefault(where, {})[system] = [math.log(each) for each in medians]
    of_row = {
        (where, system): _deviation([one - pace for one, pace in zip(own, _paces(rows), strict=True)])
        for where, rows in logarithms.items()
        for system, own in rows.items()
    }
    of_table = {
        where: _root_mean_square([of_row[where, system] for system in rows])
        for where, rows in logarithms.items()
    }
    return _Moves(passes, of_row, of_table)


def _of_passes(samples: list[float], passes: int) -> list[float]:
    """The median of each pass: rounds are kept in the order in which they were measured."""
    begin, medians = 0, []
    for share in shares(len(samples), passes):
        medians.append(median(samples[begin : begin + share]))
        begin += share
    return medians


def _paces(rows: dict[str, list[float]]) -> list[float]:
    """Of each pass: what the rows of a table have in common. Of one or two rows, that cannot be told."""
    lengths = {len(own) for own in rows.values()}
    if len(rows) < 3 or len(lengths) > 1:
        return [0.0] * max(lengths)
    return [median(own[number] - own[0] for own in rows.values()) for number in range(lengths.pop())]


def _deviation(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _root_mean_square(values: list[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values))


def _by_place(results: Json) -> Iterator[tuple[Place, Figure]]:
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


def _doubts(found: list[Change]) -> str:
    doubts = sorted(change.doubt for change in found)
    most = doubts[len(doubts) * 9 // 10]
    return f"{median(doubts):.1%} in half of the rows, {most:.1%} in nine of ten"


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
        lines.insert(1, f"a ratio is known to {_doubts(found)}")
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
    rule = (
        " A row has changed when its rounds lie apart and its median moved by three standard errors, "
        "by what rows moved from pass to pass."
    )
    known = f" A ratio is known to {_doubts(found)}." if found else ""
    same = f"<p>{stayed}{pace}{rule}{known}</p>"
    header = ["system", "where", "before", "now", "ratio of medians", "change"]
    return (html.table(header, rows) if rows else "") + same
