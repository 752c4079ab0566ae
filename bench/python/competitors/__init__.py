"""One file per competitor; `make` finds them by name."""

from .base import Answers, Competitor, Function
from .executor import LoomyExecutor
from .joblib import Joblib
from .loomy import Loomy
from .mp import MpThreadPool
from .pebble import Pebble
from .sequential import Sequential
from .stdlib import Stdlib

COMPETITORS: dict[str, type[Competitor]] = {
    competitor.name: competitor
    for competitor in (Sequential, Loomy, LoomyExecutor, Stdlib, MpThreadPool, Joblib, Pebble)
}


def make(name: str) -> Competitor:
    return COMPETITORS[name]()


__all__ = [
    "COMPETITORS",
    "Answers",
    "Competitor",
    "Function",
    "Joblib",
    "Loomy",
    "LoomyExecutor",
    "MpThreadPool",
    "Pebble",
    "Sequential",
    "Stdlib",
    "make",
]
