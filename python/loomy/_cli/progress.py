"""A progress bar on a terminal, drawn by tqdm, which is optional and imported only here."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Advance = Callable[[int], object]


class Progress:
    """Makes a bar per pass; none when it is not wanted, standard error is no terminal, or tqdm is missing."""

    def __init__(self, wanted: bool) -> None:
        self._tqdm: Any = None  # tqdm ships no types
        if wanted and sys.stderr is not None and sys.stderr.isatty():
            try:
                self._tqdm = importlib.import_module("tqdm").tqdm
            except ImportError:
                print("loomy: pip install 'loomy[progress]' for a progress bar", file=sys.stderr)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Advance]:
        """A bar over `total` bytes; call what it gives with the bytes done since the last call."""
        if self._tqdm is None:
            yield _ignore
            return
        with self._tqdm(
            desc=label,
            total=total,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            leave=False,
            file=sys.stderr,
        ) as bar:
            yield bar.update


def _ignore(_count: int) -> None:
    pass
