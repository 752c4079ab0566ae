"""What test_state_machine.py knows of jobs and contexts: what each may come to, and what is counted."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any

from helpers import WAIT

import loomy
from loomy import Context, Hooks, Worker

Outcome = tuple[str, int | None]

CANCELLED: Outcome = ("cancelled", None)
TIMED_OUT: Outcome = ("timed out", None)
REFUSED: Outcome = ("refused", None)

ENDED_AS = {
    "value": "completed",
    "error": "failed",
    "cancelled": "cancelled",
    "timed out": "timed_out",
    "refused": "failed",
}
ENDS = ("completed", "failed", "cancelled", "timed_out")


class Failed(Exception):
    pass


class Payload:
    """What a job is given. Weakly referable, so that a test can tell whether it is still held."""

    def __init__(self, value: int, gate: threading.Event | None = None) -> None:
        self.value = value
        self.gate = gate

    def outcome(self) -> Outcome:
        return ("error" if self.value < 0 else "value", self.value)


def job(payload: Payload) -> int:
    if payload.gate is not None and not payload.gate.wait(2 * WAIT):
        raise AssertionError("the model never opened the gate")
    if payload.value < 0:
        raise Failed(payload.value)
    return payload.value


class Stateful(Worker[Payload, int]):
    """Its jobs come one after the other, on its own thread."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.busy = False

    def process(self, ctx: Context, payload: Payload) -> int:
        assert self.thread == threading.get_ident()
        assert not self.busy
        self.busy = True
        try:
            return job(payload)
        finally:
            self.busy = False


class Counting(Hooks[Payload, int]):
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.ends = 0

    def on_job_complete(self, payload: Payload, result: int, duration: float) -> None:
        with self._lock:
            self.ends += 1

    def on_job_error(self, payload: Payload, error: BaseException, duration: float) -> None:
        with self._lock:
            self.ends += 1


class Node:
    """A context of a tree, and whether it or one above it was cancelled."""

    def __init__(self, context: Context, parent: Node | None) -> None:
        self.context = context
        self.parent = parent
        self.cancelled: bool = parent is not None and parent.cancelled

    def is_below(self, other: Node) -> bool:
        return self is other or (self.parent is not None and self.parent.is_below(other))


@dataclass
class Item:
    """A job, and all that it may come to."""

    own: Outcome  # if nobody gives it up
    held: bool  # until the gate opens it cannot come to that
    node: Node | None
    allowed: set[Outcome]

    @classmethod
    def of(cls, payload: Payload, node: Node | None = None, timeout: float | None = None) -> Item:
        own = payload.outcome()
        allowed = {own}
        if node is not None and node.cancelled:
            allowed = {CANCELLED}
        if timeout is not None and timeout <= 0:
            allowed = {TIMED_OUT} | (allowed & {CANCELLED})
        elif timeout is not None and timeout < 1:
            allowed |= {TIMED_OUT}
        return cls(own, payload.gate is not None, node, allowed)

    def given_up(self) -> None:
        """Somebody cancelled its context, which it may have been too fast for."""
        self.allowed.add(CANCELLED)
        if self.held:
            self.allowed.discard(self.own)


@dataclass
class Expected:
    """A result that has not been taken."""

    result: Any  # None if there was no room
    item: Item


@dataclass
class ExpectedBatch:
    result: Any
    items: list[Item]


@dataclass
class Books:
    """What the statistics must say once nothing is queued or running."""

    known: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENDS, 0))
    unknown: int = 0  # were submitted and ended in a way nobody saw
    perhaps: int = 0  # may have been submitted
    rejected: int = 0  # for want of room
    rejected_by_maps: bool = False  # which try again when a job of theirs has ended; nobody sees how often

    def count(self, *outcomes: Outcome) -> None:
        for kind, _ in outcomes:
            self.known[ENDED_AS[kind]] += 1

    def agree_with(self, stats: loomy.PoolStats) -> bool:
        total = sum(self.known.values()) + self.unknown
        spare = self.unknown + self.perhaps
        return (
            total <= stats.submitted <= total + self.perhaps
            and all(count <= getattr(stats, name) <= count + spare for name, count in self.known.items())
            and self.rejected <= stats.rejected
            and (self.rejected == stats.rejected or self.rejected_by_maps)
        )


def outcome_of_error(error: BaseException) -> Outcome:
    match error:
        case Failed():
            return "error", error.args[0]
        case loomy.JobTimedOut():
            return TIMED_OUT
        case loomy.JobCancelled() | CancelledError():
            return CANCELLED
        case loomy.PoolNotRunning():
            return REFUSED
    raise error


def outcome_of(result: Any) -> Outcome:
    try:
        return "value", result.result(WAIT)
    except (Failed, loomy.LoomyError, CancelledError) as error:
        return outcome_of_error(error)


def outcomes_of(batch: loomy.BatchResult[int]) -> list[Outcome]:
    results, errors = batch
    return [
        ("value", result) if error is None else outcome_of_error(error)
        for result, error in zip(results, errors, strict=True)
    ]
