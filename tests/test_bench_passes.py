"""A whole run goes over everything more than once: how its rounds are shared out and put together again."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "bench"))  # not a package: its programs are run from there

compare = pytest.importorskip("page.compare", reason="the benchmarks are not part of this copy")
measure = pytest.importorskip("page.measure", reason="tqdm, which shows how far it is, is not installed")
timing = pytest.importorskip("page.timing")
passes = pytest.importorskip("page.passes")
record = pytest.importorskip("python.record")
model = pytest.importorskip("python.model")


@pytest.mark.parametrize(
    ("rounds", "number", "expected"),
    [(4, 2, [2, 2]), (5, 2, [3, 2]), (1, 2, [1]), (2, 3, [1, 1]), (3, 1, [3])],
)
def test_every_round_belongs_to_one_pass_and_no_pass_is_empty(
    rounds: int, number: int, expected: list[int]
) -> None:
    assert passes.shares(rounds, number) == expected


def table_run(title: str, values: list[float], failure: str = "") -> Any:
    row = model.Row("loomy", "loomy")
    table = model.Table(title, model.MILLISECONDS, [row], "loomy")
    samples = [model.Sample(value, value, value, 1) for value in values]
    return record.TableRun("p1", table, [model.RowResult(row, samples, failure=failure)], len(values), 1.5)


def test_a_table_has_the_rounds_of_all_passes_and_their_failures() -> None:
    first = [table_run("a", [1.0, 2.0]), table_run("b", [5.0])]
    merged = passes.together([first, [table_run("a", [3.0], failure="killed by SIGSEGV")]])
    assert [each.table.title for each in merged] == ["a", "b"]
    (both, once) = merged
    assert [sample.value for sample in both.results[0].samples] == [1.0, 2.0, 3.0]
    assert (both.rounds, both.seconds, both.results[0].failure) == (3, 3.0, "killed by SIGSEGV")
    assert [sample.value for sample in once.results[0].samples] == [5.0]
    assert [len(each.results[0].samples) for each in first] == [2, 1]


def native(rounds: list[float], **more: Any) -> dict[str, Any]:
    row = {"suite": "C1", "case": "push", "competitor": "loomy", "median_ns": rounds[0], "rounds": rounds}
    return row | {"spread": [min(rounds), max(rounds)]} | more


def test_a_native_row_has_the_rounds_of_all_passes() -> None:
    other = native([9.0], wall_seconds=1.0) | {"competitor": "mutex"}
    ours, theirs = passes.native_together(
        [[native([3.0, 1.0], wall_seconds=1.0), other], [native([8.0, 6.0], wall_seconds=3.0)]]
    )
    assert (ours["median_ns"], ours["spread"], ours["rounds"]) == (4.5, [1.0, 8.0], [3.0, 1.0, 8.0, 6.0])
    assert ours["wall_seconds"] == 2.0
    assert theirs == other


def test_a_native_row_that_failed_in_one_pass_has_failed() -> None:
    failed = {"suite": "C1", "case": "push", "competitor": "loomy", "failure": "wrong sum"}
    assert passes.native_together([[native([3.0])], [failed]]) == [failed]


def whole(passes: int, **rounds: list[float]) -> dict[str, Any]:
    """A run of one table, with these rounds of its rows."""
    tables = [table_run("a", [])]
    tables[0].results[:] = [
        model.RowResult(model.Row(name, name), [model.Sample(value, value, value, 1) for value in values])
        for name, values in rounds.items()
    ]
    return {"passes": passes, "tables": [record.as_json(each) for each in tables], "native": []}


def words(before: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    return {change.system: change.word for change in compare.changes(before, now)}


STEADY = [1.0, 1.0, 1.001, 1.001]


def test_what_two_passes_differ_by_is_no_change() -> None:
    rounds = [0.97, 0.97, 1.03, 1.03]
    later = [1.1 * round for round in rounds]
    others = {"mp": STEADY, "stdlib": STEADY, "pebble": STEADY}
    assert words(whole(1, loomy=rounds, **others), whole(1, loomy=later, **others))["loomy"] == "slower"
    assert words(whole(2, loomy=rounds, **others), whole(2, loomy=later, **others))["loomy"] != "slower"


def test_what_other_rows_of_the_table_differ_by_is_no_change_of_one_that_stayed_by_luck() -> None:
    later = [1.1 * round for round in STEADY]
    steady = {"mp": STEADY, "stdlib": STEADY, "pebble": STEADY}
    assert words(whole(2, loomy=STEADY, **steady), whole(2, loomy=later, **steady))["loomy"] == "slower"
    restless = {**steady, "mp": [1.0, 1.0, 1.2, 1.2], "pebble": [1.2, 1.2, 1.0, 1.0]}
    assert words(whole(2, loomy=STEADY, **restless), whole(2, loomy=later, **restless))["loomy"] != "slower"


def test_a_slow_half_of_a_run_is_the_machine_s() -> None:
    slow = {name: [1.0, 1.0, 1.5, 1.5] for name in ("mp", "stdlib", "pebble")}
    rounds = [1.0, 1.0, 1.5, 1.5]
    later = [1.6 * round for round in rounds]
    assert words(whole(2, loomy=rounds, **slow), whole(2, loomy=later, **slow))["loomy"] == "slower"


class Clock:
    """Stands still but for those who say that they take so long."""

    def __init__(self) -> None:
        self.now = 0.0

    def takes(self, seconds: float, answer: Any = None) -> Any:
        def work(*_: object) -> Any:
            self.now += seconds
            return answer

        return work


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A whole run in which everything is done at once, but for the clock."""
    clock = Clock()
    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(measure, "loops_per_microsecond", clock.takes(2, 1.0))
    monkeypatch.setattr(measure, "_plans", lambda *_: [[], []])
    monkeypatch.setattr(measure, "build", clock.takes(60))
    monkeypatch.setattr(measure, "_native", clock.takes(10, ([], False)))
    return clock


def run(another: Path | None) -> tuple[dict[str, Any], int]:
    results, code = measure.measure(2, 2, False, True, another, timing.Expectation(None))
    return results, code


def test_the_seconds_of_a_run_are_all_that_it_took(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = {"machine": {"Python": "CPython 3.13.5, free-threaded, switch interval 5 ms"}, "seconds": 90}
    monkeypatch.setattr(measure, "on_another_python", clock.takes(90, (elsewhere, False)))
    results, code = run(Path("python3.13t"))
    suites = len(measure.PROGRAMS)
    assert results["seconds"] == 2 + 60 + 2 * suites * 10 + 90
    assert (results["build seconds"], results["also"], code) == (60, [elsewhere], 0)


def test_another_python_that_cannot_be_measured_fails_the_run_and_loses_nothing(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, code = run(Path("/nonexistent/python3.13t"))
    assert (results["also"], code) == ([], 1)
