"""loomy.Executor: what the standard library's executor is asked, asked of loomy's."""

import importlib
from typing import ClassVar

from .base import Function
from .stdlib import Stdlib


class LoomyExecutor(Stdlib):
    name: ClassVar[str] = "executor"
    module: ClassVar[str] = "loomy"
    distribution: ClassVar[str] = "loomy"

    def open(self, fn: Function, size: int) -> None:
        self.fn = fn
        self.size = size
        self._pool = importlib.import_module("loomy").Executor(size)
