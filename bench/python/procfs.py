"""Memory, threads and context switches of this process, from /proc (Linux only)."""

import os
from dataclasses import dataclass
from pathlib import Path

_TASKS = Path("/proc/self/task")


def available() -> bool:
    return _TASKS.is_dir()


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Switches:
    """Context switches of all threads but the main one, which is the one that measures."""

    threads: int
    voluntary: int
    involuntary: int


def other_threads_switches() -> Switches:
    threads = voluntary = involuntary = 0
    for task in _TASKS.iterdir():
        if int(task.name) == os.getpid():
            continue
        status = dict(
            line.split(":", 1) for line in (task / "status").read_text().splitlines() if ":" in line
        )
        threads += 1
        voluntary += int(status["voluntary_ctxt_switches"])
        involuntary += int(status["nonvoluntary_ctxt_switches"])
    return Switches(threads, voluntary, involuntary)
