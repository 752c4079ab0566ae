"""The job of the demo: the SHA-256 of one whole file."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from loomy._cli.files import Unreadable, not_regular, reason

BLOCK = 1 << 20


class Hashed(NamedTuple):
    path: str
    digest: str
    size: int
    modified: int  # of the file, in nanoseconds, when reading began


def hash_file(path: str, poll: Callable[[], object]) -> Hashed | Unreadable:
    """Hash the file at `path`.

    `poll` is called between blocks of 1 MiB and ends the job by raising. What the system says against reading
    the file is returned, not raised: one bad file must not spoil the others.
    """
    poll()
    digest = hashlib.sha256()
    size = 0
    try:
        with open(path, "rb", buffering=0, opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):  # it was one when it was found
                return Unreadable(path, not_regular(status.st_mode))
            # One byte more than the file, so that a small one costs a read and the read that finds its end.
            block = memoryview(bytearray(min(BLOCK, status.st_size + 1)))
            while True:
                count: int | None = file.readinto(block)
                if count is None:
                    raise BlockingIOError("reading would block")
                if count == 0:
                    return Hashed(path, digest.hexdigest(), size, status.st_mtime_ns)
                digest.update(block[:count])
                size += count
                poll()
    except OSError as error:
        return Unreadable(path, reason(error))


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for a writer, should a fifo have taken the file's place."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
