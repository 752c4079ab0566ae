"""Running the rows of one table: a child process each, one at work at a time, taking turns round by round."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .competitors import COMPETITORS
from .model import Row, RowResult, Sample, Scenario, Table

_BENCH = Path(__file__).resolve().parent.parent
_PATIENCE = 600.0
"""Seconds that one answer of a child may take before it counts as hung."""
_EXIT_PATIENCE = 30.0
"""Seconds that a child may take to exit once it has nothing more to say."""
_NOBODY_ELSE_SPINS = {"OPENBLAS_NUM_THREADS": "1"}
"""The threads of NumPy's OpenBLAS, which nothing here uses, spin for 30 ms after its import."""


class ChildFailedError(Exception):
    """The child died, hung, or said something else than an answer."""


class Child:
    def __init__(self, scenario: str, row: Row) -> None:
        command = [sys.executable, "-m", "python.child", scenario, row.competitor, json.dumps(dict(row.case))]
        self._process = subprocess.Popen(
            command,
            cwd=_BENCH,
            env=os.environ | _NOBODY_ELSE_SPINS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self._answer()

    def round(self) -> Sample:
        self._tell("round")
        return Sample(**self._answer())

    def close(self) -> None:
        self._tell("close")
        self._answer()
        if (code := self._exit_code()) != "exit code 0":
            raise ChildFailedError(code)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _exit_code(self) -> str:
        try:
            code = self._process.wait(_EXIT_PATIENCE)
            return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        except subprocess.TimeoutExpired:
            self.kill()
            return f"did not exit within {_EXIT_PATIENCE:.0f} s"

    def _tell(self, word: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ChildFailedError(self._exit_code()) from None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=_PATIENCE)
        except queue.Empty:
            self.kill()
            raise ChildFailedError(f"no answer within {_PATIENCE:.0f} s") from None
        if not line:
            raise ChildFailedError(f"{self._exit_code()}; its own words are on stderr")
        answer: dict[str, Any] = json.loads(line)
        return answer


def run_table(scenario: Scenario, table: Table, rounds: int, say: Callable[[str], None]) -> list[RowResult]:
    results = [RowResult(row) for row in table.rows]
    for result in results:
        result.missing = COMPETITORS[result.row.competitor].missing()
    children: dict[str, Child] = {}
    try:
        for number in range(1, rounds + 1):
            for result in results:
                if not result.missing and not result.failure:
                    say(f"{table.title}: round {number} of {rounds}, {result.row.label}")
                    _one_round(scenario, table, result, children)
        for result in results:
            if child := children.pop(result.row.label, None):
                _guarded(result, child.close, child)
    finally:
        for child in children.values():
            child.kill()
    return results


def _one_round(scenario: Scenario, table: Table, result: RowResult, children: dict[str, Child]) -> None:
    label = result.row.label

    def work() -> None:
        child = children.get(label)
        if child is None:
            child = children[label] = Child(scenario.name, result.row)
        sample = child.round()
        result.samples.append(sample)
        result.failure = result.failure or sample.wrong
        if table.fresh:
            children.pop(label).close()

    _guarded(result, work, None)
    if result.failure and label in children:
        children.pop(label).kill()


def _guarded(result: RowResult, work: Callable[[], None], child: Child | None) -> None:
    try:
        work()
    except ChildFailedError as failure:
        result.failure = result.failure or str(failure)
        if child is not None:
            child.kill()
