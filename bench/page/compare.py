"""Two runs side by side. A change counts only when all rounds of one lie beyond all of the other."""

from collections.abc import Iterator
from dataclasses import dataclass

from python.report import number

from . import html
from .results import Figure, Json, measured


@dataclass(frozen=True)
class Change:
    where: str
    system: str
    before: Figure
    now: Figure

    @property
    def ratio(self) -> float:
        return self.now.median / self.before.median if self.before.median else float("nan")

    @property
    def word(self) -> str:
        """All that is compared is a cost: more is worse."""
        if self.now.low > self.before.high:
            return "slower"
        if self.now.high < self.before.low:
            return "faster"
        return "within the noise"


def changes(old: Json, new: Json, ours_only: bool = False) -> list[Change]:
    """Of every row that both runs have, the largest first."""
    before = dict(_by_place(old))
    found = [
        Change(key[0], key[1], before[key], figure)
        for key, figure in _by_place(new)
        if key in before and (not ours_only or figure.competitor in ("loomy", "executor"))
    ]
    return sorted(found, key=lambda change: -abs(change.ratio - 1) if change.ratio == change.ratio else 0)


def _by_place(results: Json) -> Iterator[tuple[tuple[str, str], Figure]]:
    for table in results["tables"]:
        for figure in measured(table):
            yield (table["title"], figure.label), figure
    for row in results["native"]:
        if "median_ns" in row:
            title = f"{row['suite']}: {row['case']}"
            values = [row["median_ns"], *row["spread"]]
            yield (title, row["competitor"]), Figure(row["competitor"], row["competitor"], {}, values, "", {})


def summary(found: list[Change]) -> str:
    """For the terminal: what changed, then how much stayed."""
    told = [change for change in found if change.word != "within the noise"]
    lines = [
        f"{change.word}: {change.where}: {change.system}: {number(change.before.median)} "
        f"[{number(change.before.low)} .. {number(change.before.high)}] -> {number(change.now.median)} "
        f"[{number(change.now.low)} .. {number(change.now.high)}], x {change.ratio:.2f}"
        for change in told
    ]
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
    same = f"<p>{len(found) - len(told)} of {len(found)} rows are within the noise: their rounds overlap.</p>"
    header = ["system", "where", "before", "now", "ratio of medians", "change"]
    return (html.table(header, rows) if rows else "") + same
