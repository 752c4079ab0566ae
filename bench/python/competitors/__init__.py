"""One file per competitor; `make` finds them by name."""

from .anyio import Anyio
from .base import Answers, Competitor, Function
from .dask import Dask
from .executor import LoomyExecutor
from .hypertile import Hypertile
from .joblib import Joblib
from .loomy import Loomy
from .loops import LoomyC, LoomyNumba, Loops, NumbaPrange, Numexpr, OneThread, OpenMP
from .mp import MpThreadPool
from .mpire import Mpire
from .pebble import Pebble
from .sequential import Sequential
from .stdlib import Stdlib
from .tbb import Tbb

COMPETITORS: dict[str, type[Competitor]] = {
    competitor.name: competitor
    for competitor in (
        Sequential,
        Loomy,
        LoomyExecutor,
        Stdlib,
        MpThreadPool,
        Joblib,
        Pebble,
        Mpire,
        Tbb,
        Hypertile,
        Anyio,
        Dask,
        OneThread,
        LoomyC,
        LoomyNumba,
        OpenMP,
        NumbaPrange,
        Numexpr,
    )
}


def make(name: str) -> Competitor:
    return COMPETITORS[name]()


__all__ = [
    "COMPETITORS",
    "Answers",
    "Anyio",
    "Competitor",
    "Dask",
    "Function",
    "Hypertile",
    "Joblib",
    "Loomy",
    "LoomyC",
    "LoomyExecutor",
    "LoomyNumba",
    "Loops",
    "MpThreadPool",
    "Mpire",
    "NumbaPrange",
    "Numexpr",
    "OneThread",
    "OpenMP",
    "Pebble",
    "Sequential",
    "Stdlib",
    "Tbb",
    "make",
]
