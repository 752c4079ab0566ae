"""Who runs a whole loop over arrays: for the kernel benchmarks, which have no jobs."""

import ctypes
import functools
import importlib
import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..loops import build
from .base import Answers, Competitor, Function

Loop = Callable[[], object]
"""Runs the loop once over the arrays it was made for."""


class Loops(Competitor):
    submits: ClassVar[bool] = False

    def open(self, fn: Function, size: int) -> None:
        self.fn = fn
        self.size = size

    def close(self) -> None:
        pass

    def map(self, payloads: Sequence[Any], chunksize: int | None = None) -> Answers:
        raise NotImplementedError(f"{self.name} runs loops, not jobs")

    @abstractmethod
    def loop(self, name: str, n: int, arrays: Sequence[Any]) -> Loop:
        """The loop of that name in loops.c over ``n`` items of these arrays, the last of which it writes."""


class OneThread(Loops):
    """The loop in C, called by the thread that measures."""

    name: ClassVar[str] = "c"
    prefix: ClassVar[str] = "one"

    @classmethod
    def missing(cls) -> str:
        return build.missing()

    def loop(self, name: str, n: int, arrays: Sequence[Any]) -> Loop:
        function = getattr(ctypes.CDLL(str(build.library())), f"{self.prefix}_{name}")
        function.restype = None
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]  # they keep the arrays
        return functools.partial(function, ctypes.c_int64(n), *pointers)


class OpenMP(OneThread):
    """The same loop under ``#pragma omp parallel for``, its addresses looked up beforehand."""

    name: ClassVar[str] = "openmp"
    prefix: ClassVar[str] = "omp"

    def open(self, fn: Function, size: int) -> None:
        super().open(fn, size)
        os.environ["OMP_NUM_THREADS"] = str(size)  # read when the library is loaded


class LoomyC(Loops):
    """The same loop as a kernel of a shared library."""

    name: ClassVar[str] = "loomy-c"
    distribution: ClassVar[str] = "loomy"

    @classmethod
    def missing(cls) -> str:
        return build.missing()

    def open(self, fn: Function, size: int) -> None:
        super().open(fn, size)
        self._loomy = importlib.import_module("loomy")

    def loop(self, name: str, n: int, arrays: Sequence[Any]) -> Loop:
        kernel = getattr(self._loomy.load_kernels(build.library()), name)
        return functools.partial(kernel, *arrays)


class LoomyNumba(Loops):
    """A numba cfunc of the loop as a kernel."""

    name: ClassVar[str] = "loomy-numba"
    module: ClassVar[str] = "numba"
    distribution: ClassVar[str] = "numba"

    def loop(self, name: str, n: int, arrays: Sequence[Any]) -> Loop:
        loops = importlib.import_module("python.loops.for_numba")
        kernel = importlib.import_module("loomy").kernel(loops.cfunc(name, n))
        if kernel.shape == "range":
            return functools.partial(kernel, *arrays, n=n)
        return functools.partial(kernel, *arrays)


class NumbaPrange(Loops):
    """numba's own threads, with as small chunks as an irregular loop wants."""

    name: ClassVar[str] = "numba"
    module: ClassVar[str] = "numba"
    distribution: ClassVar[str] = "numba"

    def open(self, fn: Function, size: int) -> None:
        super().open(fn, size)
        self._numba = importlib.import_module("numba")
        self._numba.set_num_threads(size)

    def loop(self, name: str, n: int, arrays: Sequence[Any]) -> Loop:
        loops = importlib.import_module("python.loops.for_numba")
        if name == "mandelbrot":
            self._numba.set_parallel_chunksize(1)
        return functools.partial(loops.PRANGE[name], n, *arrays)


class Numexpr(Loops):
    """Expressions over blocks of arrays; it has no loops, so not every one can be written for it."""

    name: ClassVar[str] = "numexpr"
    module: ClassVar[str] = "numexpr"
    distribution: ClassVar[str] = "numexpr"

    def open(self, fn: Function, size: int) -> None:
        super().open(fn, size)
        self._numexpr = importlib.import_module("numexpr")
        self._numexpr.set_num_threads(size)

    def loop(self, name: str, n: int, arrays: Sequence[Any]) -> Loop:
        names = ("x", "y") if name == "saxpy" else ("x",)
        text = "2.5 * x + y" if name == "saxpy" else _horner_text(32)
        double = importlib.import_module("numpy").float64
        compiled = self._numexpr.NumExpr(text, [(one, double) for one in names])
        *inputs, out = arrays
        return functools.partial(compiled, *inputs, out=out, ex_uses_vml=False)


def _horner_text(terms: int) -> str:
    text = "1.0"
    for _ in range(terms):
        text = f"({text}) * x + 0.5"
    return text
