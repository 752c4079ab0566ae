"""Does one operation very often and says what grew: memory, objects, on a debug build all reference counts.

    python tests/scripts/leaks.py OPERATION|all TIMES

TIMES is how often a plain job is done; of what takes longer there are fewer turns. Fails if anything grew by
half of what it would grow if each turn lost one thing.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import pathlib
import sys
from typing import Any

from _operations import COSTS, OPERATIONS, Operation

LEAST = 300  # turns: half of them stand out from what comes and goes by itself
TRIES = 3  # what is lost in each turn is lost in each try; what an interpreter keeps for once is not

# These lose one thing in each turn, so that it is known to be seen. "all" leaves them out.

LOST: list[Any] = []


def lost_objects(turns: int) -> None:
    LOST.extend([i] for i in range(turns))


def lost_memory(turns: int) -> None:
    malloc = ctypes.CDLL(None).malloc
    for _ in range(turns):
        malloc(1)


def lost_pages(turns: int) -> None:
    for _ in range(turns):
        LOST.append(mmap.mmap(-1, mmap.PAGESIZE))
        LOST[-1][:] = bytes(mmap.PAGESIZE)


LOSSES: dict[str, Operation] = {loss.__name__: loss for loss in (lost_objects, lost_memory, lost_pages)}


class _MallInfo2(ctypes.Structure):
    """As <malloc.h> has it."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")),
    ]


def native() -> int:
    """Bytes that malloc has given out, to the core above all; 0 where the system does not tell."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return 0
    mallinfo2.restype = _MallInfo2
    told = mallinfo2()
    return int(told.uordblks) + int(told.hblkhd)


def resident() -> int:
    """Kilobytes of this process in memory; 0 where the system has no such file."""
    status = pathlib.Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def measure() -> dict[str, int]:
    for _ in range(3):
        gc.collect()
    found = {
        "blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()),
        "bytes": native(),
        "kB": resident(),
    }
    total = getattr(sys, "gettotalrefcount", None)
    return found if total is None else {**found, "references": total()}


def growth(operation: Operation, turns: int) -> dict[str, int]:
    before = measure()
    operation(turns)
    return {what: count - before[what] for what, count in measure().items()}


def look_at(name: str, times: int) -> list[str]:
    operation = OPERATIONS.get(name) or LOSSES[name]
    turns = max(times // COSTS.get(name, 1), LEAST)
    for _ in range(2):
        operation(max(turns // 10, LEAST // 2))  # caches, and the memory of a queue at its longest
    limits = {
        "blocks": turns // 2,
        "objects": turns // 2,
        "bytes": turns * 16,  # half of the smallest that malloc gives out
        "kB": turns * 2,  # half a page: less is lost in what allocators keep for the next time
        "references": min(turns // 2, 60),  # exact: the constant is this code's own
    }
    suspects = dict.fromkeys(limits, 0)
    for _ in range(TRIES):
        grown = growth(operation, turns)
        print(f"{name}, {turns} turns: {grown}")
        suspects = {what: count for what, count in grown.items() if what in suspects and count > limits[what]}
        if not suspects:
            break
    return [f"{name}: {count} more {what} in {turns} turns, each time" for what, count in suspects.items()]


if __name__ == "__main__":
    which, times = sys.argv[1], int(sys.argv[2])
    problems = [
        problem for name in (OPERATIONS if which == "all" else [which]) for problem in look_at(name, times)
    ]
    sys.exit("\n".join(problems) or 0)
