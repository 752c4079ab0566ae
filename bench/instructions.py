"""Instructions per job of the hot paths, counted by valgrind: they do not depend on what else a machine does.

``python bench/instructions.py`` compares with bench/instructions.json and ends with 1 when a path has become
longer than the margin allows; ``--record`` writes what this environment takes. bench/README.md says more.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FILE = HERE / "instructions.json"
JOB = HERE / "instructions_job.py"
LIBRARIES = {"clock": HERE / "instructions_clock.c", "kernel": HERE / "instructions_kernel.c"}

SHORT, LONG = 2_000, 32_000
"""A path is run so many times in two processes; their difference is free of what a process does once."""
MORE = {"chunk": 20}
"""Times as often, for what is so short that one spin of the worker more or less would show."""

Counts = dict[str, float]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Count instructions per job and compare with what was recorded."
    )
    parser.add_argument("--record", action="store_true", help="write them down as this environment's")
    given = parser.parse_args(arguments)
    for tool in ("valgrind", "cc"):
        if shutil.which(tool) is None:
            print(f"skipped: there is no {tool}")
            return 0
    here = environment()
    book = json.loads(FILE.read_text())
    known = recorded(book, here)
    if known is None and not given.record:
        print(f"skipped: nothing was recorded for {describe(here)}; --record does it")
        return 0
    counted = count_all()
    if given.record:
        write(book, here, counted)
        print(f"recorded for {describe(here)}:")
        known = counted
    assert known is not None
    lines, longer = compare(counted, known, float(book["margin"]))
    print("\n".join(lines))
    return 1 if longer else 0


def environment() -> dict[str, str]:
    """What the counts depend on, as far as we know."""
    import loomy._loomy  # the installed one, whichever that is

    flags = re.findall(r"'(--(?:enable|with|disable)-[\w-]+)'", sysconfig.get_config_var("CONFIG_ARGS") or "")
    built = loomy._loomy.build_info()
    return {
        "python": platform.python_version() + ("t" if built["free_threaded"] else ""),
        "python built": " ".join([platform.python_compiler(), *sorted(flags)]),
        "loomy built": " ".join(filter(None, [str(built["compiler"]), str(built["sanitizer"])])),
        "system": " ".join([platform.system(), platform.machine(), *platform.libc_ver()]),
    }


def describe(of: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in of.items())


def recorded(book: dict[str, Any], of: dict[str, str]) -> Counts | None:
    for entry in book["recorded"]:
        if entry["environment"] == of:
            return dict(entry["instructions per job"])
    return None


def write(book: dict[str, Any], of: dict[str, str], counted: Counts) -> None:
    entries = [entry for entry in book["recorded"] if entry["environment"] != of]
    entries.append({"environment": of, "instructions per job": counted})
    entries.sort(key=lambda entry: describe(entry["environment"]))
    FILE.write_text(json.dumps({"margin": book["margin"], "recorded": entries}, indent=2) + "\n")


def compare(counted: Counts, known: Counts, margin: float) -> tuple[list[str], bool]:
    """A line for each path, and whether one has become longer than it may."""
    lines = []
    longer = False
    for path in {**known, **counted}:
        if path not in counted or path not in known:
            lines.append(f"{path:12} only in {'the record' if path in known else 'this run'}: record again")
            longer = True
            continue
        change = counted[path] / known[path] - 1
        verdict = "ok"
        if change > margin:
            verdict = f"LONGER by more than {margin:.0%}: shorten it, or say why and --record"
            longer = True
        elif change < -margin:
            verdict = f"shorter by more than {margin:.0%}: --record, so that it stays so"
        lines.append(f"{path:12} {counted[path]:8.0f} recorded {known[path]:8.0f} {change:+8.2%}  {verdict}")
    return lines, longer


def count_all() -> Counts:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, source in LIBRARIES.items():
            command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(scratch / f"{name}.so"), str(source)]
            subprocess.run(command, check=True)
        paths = ("process", "submit", "collect", "batch", "launch", "chunk")
        process, submit, collect, batch, launch, chunk = (per_job(path, scratch) for path in paths)
    return {
        "process": process[0],
        "submit": submit[0],
        # One process does both, so that the results are there to be collected.
        "collect": round(collect[0] - submit[0], 1),
        "run": collect[1],
        "batch item": batch[0],
        "launch": launch[0],
        "chunk": chunk[1],
    }


def per_job(path: str, scratch: Path) -> list[float]:
    """Of each thread that lives through the run: the caller's, then the worker's."""
    few, many = (times * MORE.get(path, 1) for times in (SHORT, LONG))
    short, long = count(path, few, scratch), count(path, many, scratch)
    return [round((b - a) / (many - few), 1) for a, b in zip(short, long, strict=True)]


def count(path: str, jobs: int, scratch: Path) -> list[int]:
    """Instructions of each thread of one process, in the order in which the threads were made."""
    out = scratch / f"{path}-{jobs}"
    command = ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}"]
    command += [sys.executable, str(JOB), path, str(jobs)]
    environ = {**os.environ, "LD_PRELOAD": str(scratch / "clock.so"), "PYTHONHASHSEED": "0"}
    environ["LOOMY_COUNTED_KERNEL"] = str(scratch / "kernel.so")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, cwd=scratch)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    files = sorted(scratch.glob(f"{path}-{jobs}-*"))
    totals = [re.search(r"^totals: (\d+)$", file.read_text(), re.MULTILINE) for file in files]
    return [int(total[1]) for total in totals if total]


if __name__ == "__main__":
    sys.exit(main())
