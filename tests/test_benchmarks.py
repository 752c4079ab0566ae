"""What the benchmarks conclude from their figures; the figures themselves are nobody's test."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"
sys.path.append(str(BENCH))  # not a package: its programs are run from there

instructions = pytest.importorskip("instructions", reason="the benchmarks are not part of this copy")
build = pytest.importorskip("cpp.build")
rows = pytest.importorskip("cpp.rows")


def row(case: str, competitor: str, median_ns: float, suite: str = "C1") -> dict[str, Any]:
    return {"suite": suite, "case": case, "competitor": competitor, "median_ns": median_ns}


def test_a_target_is_a_ratio_within_one_case() -> None:
    of_case = [
        row("1P1C", "loomy", 50),
        row("1P1C", "boost::lockfree", 100),
        row("1P1C", "mutex + deque", 40),
    ]
    assert rows.verdicts(of_case) == [
        "loomy / boost::lockfree <= 1: 0.5, met",
        "loomy / mutex + deque <= 1.15: 1.25, MISSED",
    ]


def test_a_target_against_who_is_missing_is_not_met_by_that() -> None:
    skipped = {"suite": "C1", "case": "1P1C", "competitor": "oneTBB", "skipped": "not installed"}
    assert rows.verdicts([row("1P1C", "loomy", 50), skipped]) == []


def test_only_fan_outs_are_held_against_task_groups() -> None:
    def of(case: str) -> list[str]:
        said = rows.verdicts([row(case, rows.BATCH, 50, "C3"), row(case, "oneTBB task_group", 100, "C3")])
        return list(said)

    assert of("fan-out 100") == [f"{rows.BATCH} / oneTBB task_group <= 1: 0.5, met"]
    assert of("round trip") == []


def test_a_target_in_nanoseconds_needs_no_peer() -> None:
    case = "empty chunk, one thread"
    assert rows.verdicts([row(case, "loomy", 5.25, "C4")]) == ["loomy <= 10 ns: 5.25, met"]
    assert rows.verdicts([row(case, "loomy", 10.5, "C4")]) == ["loomy <= 10 ns: 10.5, MISSED"]


def test_each_native_program_is_built_and_run() -> None:
    text = (BENCH / "cpp" / "CMakeLists.txt").read_text()
    (built,) = re.findall(r"foreach\(program IN ITEMS ([\w ]+)\)", text)
    present = {file.stem for file in (BENCH / "cpp").glob("c[0-9]*.cpp")}
    assert set(built.split()) == set(build.PROGRAMS.values()) == present


def test_a_path_that_became_longer_by_more_than_the_margin_is_told() -> None:
    lines, longer = instructions.compare({"submit": 109.0, "run": 50.0}, {"submit": 100.0, "run": 50.0}, 0.08)
    assert longer
    assert "+9.00%" in lines[0]
    assert "LONGER" in lines[0]
    assert lines[1].endswith("ok")


@pytest.mark.parametrize(("counted", "told"), [(107.0, "ok"), (93.0, "ok"), (90.0, "shorter")])
def test_a_path_within_the_margin_or_shorter_is_no_failure(counted: float, told: str) -> None:
    lines, longer = instructions.compare({"submit": counted}, {"submit": 100.0}, 0.08)
    assert not longer
    assert told in lines[0]


@pytest.mark.parametrize(("counted", "known"), [({"a": 1.0}, {}), ({}, {"a": 1.0})])
def test_a_path_that_only_one_side_has_wants_a_new_record(
    counted: dict[str, float], known: dict[str, float]
) -> None:
    lines, longer = instructions.compare(counted, known, 0.08)
    assert longer
    assert "record again" in lines[0]


def entry(submit: float = 1.0, **other: str) -> dict[str, Any]:
    environment = {
        "python": "3.11.7",
        "python built": "GCC 12.2.0",
        "loomy built": "GCC 12.2.0",
        "system": "Linux x86_64 glibc 2.36",
    }
    return {"environment": environment | other, "instructions per job": {"submit": submit}}


@pytest.mark.parametrize(
    "other",
    [
        {"python": "3.11.2"},
        {"python built": "Clang 14.0.6 --enable-shared"},
        {"loomy built": "GCC 12.3.1"},
        {"system": "Linux x86_64 glibc 2.41"},
    ],
    ids=lambda other: next(iter(other.values())),
)
def test_a_like_environment_is_compared_with(other: dict[str, str]) -> None:
    here = entry()["environment"]
    book = {"recorded": [entry(2.0, **other)]}
    assert instructions.recorded(book, here)["instructions per job"] == {"submit": 2.0}
    book["recorded"].insert(0, entry(1.0))
    book["recorded"].append(entry(3.0, **other))
    assert instructions.recorded(book, here)["instructions per job"] == {"submit": 1.0}


@pytest.mark.parametrize(
    "other",
    [
        {"python": "3.12.7"},
        {"python": "3.11.7t"},
        {"loomy built": "GCC 13.2.0"},
        {"loomy built": "GCC 12.2.0 address"},
        {"loomy built": "Clang 12.0.1"},
        {"system": "Linux aarch64 glibc 2.36"},
        {"system": "Darwin x86_64"},
    ],
    ids=lambda other: next(iter(other.values())),
)
def test_an_unlike_environment_is_not_compared_with(other: dict[str, str]) -> None:
    assert instructions.recorded({"recorded": [entry(1.0, **other)]}, entry()["environment"]) is None


def test_this_environment_is_like_itself() -> None:
    here = instructions.environment()
    assert instructions.recorded({"recorded": [{"environment": here}]}, here) == {"environment": here}


def dump(name: str, total: int) -> str:
    return f"version: 1\ndesc: Trigger: Client Request: {name}\nthread: 1\n\ntotals: {total}\n"


def test_what_happens_once_is_not_counted() -> None:
    dumps = [dump("before", 700), dump("batch item 1000", 5_100), dump("batch item 9000", 45_100)]
    assert instructions.per_job(dumps) == {"batch item": 5.0}


def test_without_valgrind_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert instructions.main([]) == 0
    assert capsys.readouterr().out == "skipped: there is no valgrind\n"
