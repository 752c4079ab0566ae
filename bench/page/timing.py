"""How long a whole run will take: from an earlier one, and from how this one is getting on."""

from types import TracebackType
from typing import Self

from python.model import Table
from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]

from .results import Json

_UNKNOWN_ROW = 1.0
"""Seconds for a round of a row of which nothing is known; a row's first round brings its start along."""
_UNKNOWN_SUITE = 40.0
_UNKNOWN_ELSEWHERE = 90.0


class Expectation:
    """Seconds by table, from an earlier run on whatever machine: the bar adjusts the pace."""

    def __init__(self, earlier: Json | None) -> None:
        tables = earlier["tables"] if earlier else []
        self._of_round: dict[str, float] = {
            table["title"]: table["seconds"] / table["rounds"] / max(1, len(table["rows"]))
            for table in tables
            if "seconds" in table
        }

        self._of_suite: dict[str, float] = (earlier or {}).get("native seconds", {})
        also = earlier["also"] if earlier else []
        self.elsewhere: float = next((run["seconds"] for run in also if "seconds" in run), _UNKNOWN_ELSEWHERE)

    def of_table(self, table: Table, rounds: int) -> float:
        of_row: float = self._of_round.get(table.title, _UNKNOWN_ROW)
        return of_row * rounds * len(table.rows)

    def of_suite(self, suite: str) -> float:
        return self._of_suite.get(suite, _UNKNOWN_SUITE)


class Bar:
    """Counts expected seconds, so that what is left is told by work and not by the number of steps."""

    def __init__(self, expected: float) -> None:
        tqdm.monitor_interval = 0  # no thread of its own beside what is measured
        self._bar = tqdm(
            total=round(expected, 1),
            unit="s",
            bar_format="{percentage:3.0f}% |{bar:30}| {elapsed}, {remaining} left  {desc}",
            smoothing=0.05,
            mininterval=1,
        )
        self._begun = 0.0
        self._share = 0.0
        self._steps = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish_part()
        self._bar.close()

    def begin(self, what: str, expected: float, steps: int) -> None:
        self._finish_part()
        self._begun, self._steps = expected, 0
        self._share = expected / steps
        self._bar.set_description_str(what[:60])

    def step(self) -> None:
        """Told when a step begins: the one before it is over."""
        if self._steps and self._begun >= self._share:
            self._bar.update(self._share)
            self._begun -= self._share
        self._steps += 1

    def _finish_part(self) -> None:
        self._bar.update(self._begun)
        self._begun = 0.0
