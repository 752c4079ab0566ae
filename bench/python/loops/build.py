"""Compiling loops.c with the system's compiler, once for each source and set of flags."""

import functools
import hashlib
import importlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).with_name("loops.c")
_FOLDER = Path(__file__).resolve().parents[3] / "build" / "bench-loops"
FLAGS = ["-std=c11", "-O3", "-march=native", "-fPIC", "-shared", "-fopenmp"]

COMPILER = shutil.which("cc") or shutil.which("gcc")


@functools.cache
def missing() -> str:
    """Why loops in C cannot be had; empty if they can."""
    if COMPILER is None:
        return "no C compiler (cc)"
    probe = [COMPILER, "-fopenmp", "-E", "-dM", "-x", "c", os.devnull]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return "" if "_OPENMP" in done.stdout else f"{COMPILER} has no OpenMP"


@functools.cache
def library() -> Path:
    include = importlib.import_module("loomy").get_include()
    header = Path(include) / "loomy" / "kernel.h"
    command = [str(COMPILER), *FLAGS, f"-I{include}"]
    made_of = b"\0".join([_SOURCE.read_bytes(), header.read_bytes(), " ".join(command).encode()])
    path = _FOLDER / f"loops-{hashlib.sha256(made_of).hexdigest()[:16]}.so"
    if not path.exists():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_FOLDER) as unfinished:
            made = Path(unfinished) / path.name
            subprocess.run([*command, "-o", str(made), str(_SOURCE), "-lm"], check=True)
            made.replace(path)  # whole at once, whoever else compiles it
    return path
