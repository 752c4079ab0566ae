"""What the demo found, as a table for people and as JSON for machines."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import dataclass

import loomy
from loomy._cli.files import Unreadable
from loomy._cli.hashing import Hashed
from loomy._cli.info import free_threaded, gil_enabled, threading_model
from loomy._cli.overhead import JOBS, ROUNDS


@dataclass(frozen=True, slots=True)
class Run:
    name: str
    seconds: float
    overhead: float | None  # seconds per job that does nothing; None without a pool


@dataclass(frozen=True, slots=True)
class Report:
    directory: str
    workers: int
    hashed: list[Hashed]
    runs: list[Run]  # the first is what the others are compared with
    unreadable: list[Unreadable]
    changed: list[str]
    disagreeing: list[str]

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.hashed)

    def speed_up(self, run: Run) -> float:
        return self.runs[0].seconds / run.seconds if run.seconds > 0 else 1.0

    def listing_digest(self) -> str:
        """SHA-256 over the sorted lines `DIGEST  PATH`, as sha256sum writes them, with relative paths."""
        lines = (
            file.digest.encode() + b"  " + os.fsencode(os.path.relpath(file.path, self.directory)) + b"\n"
            for file in self.hashed
        )
        return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


def print_json(report: Report) -> None:
    document = {
        "loomy": loomy.__version__,
        "python": platform.python_version(),
        "free_threaded": free_threaded(),
        "gil_enabled": gil_enabled(),
        "directory": report.directory,
        "workers": report.workers,
        "files": len(report.hashed),
        "bytes": report.bytes,
        "listing_sha256": report.listing_digest(),
        "digests_agree": not report.disagreeing,
        "runs": [
            {
                "name": run.name,
                "seconds": run.seconds,
                "speed_up": report.speed_up(run),
                "overhead_seconds_per_job": run.overhead,
            }
            for run in report.runs
        ],
        "overhead": {"jobs": JOBS, "rounds": ROUNDS},
        "unreadable": [file._asdict() for file in report.unreadable],
        "changed": report.changed,
        "disagreeing": report.disagreeing,
    }
    print(json.dumps(document, indent=2))


def print_table(report: Report) -> None:
    counts = [f"{len(report.unreadable):,} unreadable", f"{len(report.changed):,} changed meanwhile"]
    workers = f"{report.workers} worker{'s' if report.workers != 1 else ''}"
    print(f"loomy {loomy.__version__}, Python {platform.python_version()} {threading_model()}, {workers}")
    print(f"{printable(report.directory)}: {len(report.hashed):,} files, {', '.join(counts)}")
    print()
    print(f"{'':18}  {'files':>10}  {'bytes':>15}  {'seconds':>9}  {'speed-up':>8}  {'overhead per job':>16}")
    for run in report.runs:
        overhead = "-" if run.overhead is None else f"{run.overhead * 1e6:.2f} us"
        print(
            f"{run.name:18}  {len(report.hashed):>10,}  {report.bytes:>15,}  {run.seconds:>9.3f}  "
            f"{report.speed_up(run):>7.2f}x  {overhead:>16}"
        )
    print()
    if report.disagreeing:
        print(f"The digests of {len(report.disagreeing):,} files DISAGREE.")
    else:
        print(f"All digests agree; the sha256 of their listing is {report.listing_digest()}.")
    cached = _cache_warning(report.bytes)
    print(f"Every file was read once before the timing{cached}, and then in the same order by all three,")
    print("so that they found the same page cache. Seconds include making and closing the pool.")
    print(
        f"Overhead: {JOBS:,} no-op jobs are submitted, then collected; the median of {ROUNDS} rounds in turn."
    )


def printable(path: str) -> str:
    """The path, with what a terminal could take for a command, or cannot show, escaped."""
    return path if path.isprintable() else repr(path)[1:-1]


def _cache_warning(total: int) -> str:
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return ""
    return " (but it may not all fit into memory)" if total > memory // 2 else ""
