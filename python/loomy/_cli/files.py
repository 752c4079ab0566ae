"""Finding the files to hash, in a fixed order, and saying which cannot be."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple


class Unreadable(NamedTuple):
    path: str
    reason: str


KINDS = {
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def find_files(directory: str) -> tuple[list[str], list[Unreadable]]:
    """Every regular file under `directory`, links to files included, in sorted order; and what is no file.

    Links to directories are not followed, so that a loop of them does not matter. Raises `OSError` when
    `directory` itself cannot be listed.
    """
    paths: list[str] = []
    unreadable: list[Unreadable] = []
    pending = [directory]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if folder == directory:
                raise
            unreadable.append(Unreadable(folder, reason(error)))
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                mode = entry.stat().st_mode
            except OSError as error:
                what = "broken link: " if entry.is_symlink() else ""
                unreadable.append(Unreadable(entry.path, what + reason(error)))
                continue
            if stat.S_ISREG(mode):
                paths.append(entry.path)
            elif not stat.S_ISDIR(mode):
                unreadable.append(Unreadable(entry.path, not_regular(mode)))
    paths.sort()
    return paths, unreadable


def not_regular(mode: int) -> str:
    return f"not a regular file but a {KINDS.get(stat.S_IFMT(mode), 'special file')}"


def reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
