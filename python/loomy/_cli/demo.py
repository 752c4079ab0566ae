"""`python -m loomy demo`: hash every file under a directory three ways and compare."""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing

from loomy import _loomy
from loomy._cli.files import Unreadable, find_files, reason
from loomy._cli.hashing import Hashed
from loomy._cli.overhead import overhead_per_job
from loomy._cli.progress import Progress
from loomy._cli.report import Report, Run, print_json, print_table, printable
from loomy._cli.ways import WAYS, Way, one_by_one

Outcomes = Mapping[str, Hashed | Unreadable]


def demo(directory: str | None, *, workers: int | None, as_json: bool, progress: bool) -> int:
    """Print the comparison; return 0, 1 when digests disagree, 2 when `directory` cannot be listed."""
    root = sysconfig.get_path("stdlib") if directory is None else directory
    size = _loomy.usable_cpus() if workers is None else workers
    try:
        paths, unreadable = find_files(root)
    except OSError as error:
        print(f"loomy: cannot list {printable(root)}: {reason(error)}", file=sys.stderr)
        return 2

    bars = Progress(progress)
    total = sum(map(_size, paths))
    # Untimed: puts the files into the page cache for all three, and finds those that cannot be read.
    first = hash_all(one_by_one, paths, size, bars, "reading once", total)
    unreadable += [outcome for outcome in first.values() if isinstance(outcome, Unreadable)]
    for path, why in unreadable:
        print(f"loomy: skipped {printable(path)}: {why}", file=sys.stderr)
    reference = {path: outcome for path, outcome in first.items() if isinstance(outcome, Hashed)}
    readable = list(reference)

    passes: dict[str, Outcomes] = {}
    seconds: dict[str, float] = {}
    for name, way in WAYS.items():
        start = time.perf_counter()
        passes[name] = hash_all(way, readable, size, bars, name, total)
        seconds[name] = time.perf_counter() - start

    overheads = overhead_per_job(size)
    changed, disagreeing = compare(reference, passes.values())
    for path in changed:
        print(f"loomy: {printable(path)} changed while the demo ran", file=sys.stderr)
    for path in disagreeing:
        print(f"loomy: the digests of {printable(path)} disagree", file=sys.stderr)
    report = Report(
        directory=os.path.abspath(root),
        workers=size,
        hashed=[reference[path] for path in readable if path not in changed],
        runs=[Run(name, seconds[name], overheads.get(name)) for name in WAYS],
        unreadable=unreadable,
        changed=changed,
        disagreeing=disagreeing,
    )
    (print_json if as_json else print_table)(report)
    return 1 if disagreeing else 0


def hash_all(
    way: Way, paths: Sequence[str], workers: int, bars: Progress, label: str, total: int
) -> Outcomes:
    outcomes: dict[str, Hashed | Unreadable] = {}
    # Closed at once, not when it is collected: a Ctrl-C must stop the jobs before anything waits for them.
    with bars.bar(label, total) as advance, closing(way(paths, workers)) as results:
        for outcome in results:
            outcomes[outcome.path] = outcome
            if isinstance(outcome, Hashed):
                advance(outcome.size)
    return outcomes


def compare(reference: Mapping[str, Hashed], passes: Collection[Outcomes]) -> tuple[list[str], list[str]]:
    """The files whose passes differ: those that somebody changed meanwhile, and those that nobody did."""
    changed: list[str] = []
    disagreeing: list[str] = []
    for path, expected in reference.items():
        found = [outcomes.get(path) for outcomes in passes]
        if all(isinstance(outcome, Hashed) and outcome.digest == expected.digest for outcome in found):
            continue
        (changed if _was_changed(expected) else disagreeing).append(path)
    return changed, disagreeing


def _was_changed(expected: Hashed) -> bool:
    try:
        status = os.stat(expected.path)
    except OSError:
        return True
    return (status.st_size, status.st_mtime_ns) != (expected.size, expected.modified)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
