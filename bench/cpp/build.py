"""Configuring and building the native benchmarks."""

import subprocess
import tempfile
from pathlib import Path

from . import nanobench_from_pypi

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = {"C1": "c1_queue", "C2": "c2_latency", "C3": "c3_pool", "C4": "c4_kernel"}


def build(folder: Path, nanobench: Path | None) -> None:
    """RuntimeError with the tools' output when it fails."""
    command = ["cmake", "-S", str(ROOT), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release"]
    command += ["-DLOOMY_BINDINGS=OFF", "-DLOOMY_BENCH=ON"]
    found = nanobench or _nanobench_from_elsewhere(folder / "nanobench")
    if found:
        command.append(f"-DLOOMY_NANOBENCH_DIR={found.resolve()}")
    _run(command)
    _run(["cmake", "--build", str(folder), "--parallel", "2"])


def program(folder: Path, suite: str) -> Path:
    return folder / "bench" / "cpp" / PROGRAMS[suite]


def _nanobench_from_elsewhere(folder: Path) -> Path | None:
    """None leaves it to CMake: the system has one, or it is to be fetched from its home."""
    with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
        source.write("#include <nanobench.h>\n")
        source.flush()
        for include in ([], ["-I/usr/include/nanobench"]):
            test = ["c++", "-E", *include, source.name]
            if subprocess.run(test, capture_output=True, check=False).returncode == 0:
                return None
    try:
        return nanobench_from_pypi.fetch(folder).parent
    except RuntimeError:
        return None


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
