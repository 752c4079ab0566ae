"""Kernels for tests: tests/kernels compiled with the system's compiler, once for each run of the tests."""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import loomy

SOURCES = Path(__file__).parent / "kernels"
CC = shutil.which("cc") or shutil.which("gcc")
CXX = shutil.which("c++") or shutil.which("g++")
NO_COMPILER = None if CC and CXX else "needs a C and a C++ compiler (cc, c++)"


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="loomy-kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def compiled(source: Path, *flags: str) -> Path:
    """A shared library of that file. What was compiled last stays; scripts of tests find it so."""
    into = _folder() / f"lib{source.stem}.so"
    made = into.with_suffix(f".{threading.get_ident()}")  # another thread may be compiling it, or using it
    is_c = source.suffix == ".c"
    command = [
        CC if is_c else CXX,
        "-std=c11" if is_c else "-std=c++17",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
    ]
    command += ["-shared", "-fPIC", "-fvisibility=hidden", f"-I{loomy.get_include()}", *flags]
    done = subprocess.run(
        [*map(str, command), "-o", str(made), str(source), "-lm"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "LD_PRELOAD": "",
        },  # a sanitizer's runtime is for this process, not for the compiler
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    made.replace(into)
    return into


@functools.cache
def library(name: str) -> Path:
    """The path of tests/kernels/NAME as a shared library."""
    return compiled(SOURCES / name)


@functools.cache
def kernels(name: str) -> loomy.KernelLibrary:
    return loomy.load_kernels(library(name))


@functools.cache
def plain() -> ctypes.CDLL:
    """The functions of tests/kernels/plain.c, whose types ctypes does not know yet."""
    return ctypes.CDLL(str(library("plain.c")))


class Tensor:
    """What lends an array through DLPack, and nothing else."""

    def __init__(self, of: Any, device: tuple[int, int] = (1, 0), *, old: bool = False) -> None:
        self._of, self._device, self._old = of, device, old

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device

    def __dlpack__(self, **options: Any) -> Any:
        if self._old and options:
            raise TypeError("unexpected keyword argument")
        return self._of.__dlpack__(**options)
