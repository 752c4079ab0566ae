"""The job of the demo: the SHA-256 of one whole file."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from loomy._cli.files import Unreadable, not_regular, reason

BLOCK = 1 << 20

# Not waiting for a writer, should a fifo have taken the place of the file; and on Windows, as it is.
OPEN_AT_ONCE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


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
        file = os.open(path, OPEN_AT_ONCE)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):  # it was one when it was found
                return Unreadable(path, not_regular(status.st_mode))
            # One byte more than the file, so that a small one costs a read and the read that finds its end.
            most = min(BLOCK, status.st_size + 1)
            while block := os.read(file, most):
                digest.update(block)
                size += len(block)
                poll()
        finally:
            os.close(file)
    except OSError as error:
        return Unreadable(path, reason(error))
    return Hashed(path, digest.hexdigest(), size, status.st_mtime_ns)
