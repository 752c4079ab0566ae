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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FILE = HERE / "instructions.json"
JOB = HERE / "instructions_job.py"
HEADER = "valgrind/callgrind.h"
LIBRARIES = {"clock": HERE / "instructions_clock.c", "kernel": HERE / "instructions_kernel.c"}

FEW, MANY = 1_000, 9_000
"""A path is taken so many times, twice in one process: the difference is free of what happens once."""

Counts = dict[str, float]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Count instructions per job and compare with what was recorded."
    )
    parser.add_argument("--record", action="store_true", help="write them down as this environment's")
    given = parser.parse_args(arguments)
    if absent := missing():
        print(f"skipped: there is no {absent}")
        return 0
    here = environment()
    book = json.loads(FILE.read_text())
    known = recorded(book, here)
    if known is None and not given.record:
        print(f"NOT COMPARED: nothing was recorded for what is like {describe(here)}; --record does it")
        return 0
    counted = count_all()
    if known is None or given.record:
        write(book, here, counted)
        print(f"recorded for {describe(here)}:")
        known = {"environment": here, "instructions per job": counted}
    elif known["environment"] != here:
        print(f"not recorded for {describe(here)}; compared with {describe(known['environment'])}")
    lines, longer = compare(counted, known["instructions per job"], float(book["margin"]))
    print("\n".join(lines))
    return 1 if longer else 0


def missing() -> str:
    """What is needed and is not there; empty if nothing."""
    for tool in ("valgrind", "cc"):
        if shutil.which(tool) is None:
            return tool
    found = subprocess.run(
        ["cc", "-E", "-include", HEADER, "-x", "c", os.devnull], capture_output=True, check=False
    )
    return "" if found.returncode == 0 else HEADER


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


def kind(of: dict[str, str]) -> tuple[str, ...]:
    """Where counts are near enough to be compared: the same minor version of Python, with the GIL or without,
    the same major version of the compiler, and the same instructions.
    """
    python = re.sub(r"^(\d+\.\d+)[^t]*", r"\1", of["python"])
    return python, re.sub(r"(\d+)\.[.\d]*", r"\1", of["loomy built"]), " ".join(of["system"].split()[:2])


def recorded(book: dict[str, Any], of: dict[str, str]) -> dict[str, Any] | None:
    """The entry of this environment, else the most similar one of its kind."""
    near = [entry for entry in book["recorded"] if kind(entry["environment"]) == kind(of)]
    return max(near, key=lambda entry: _alike(entry["environment"], of), default=None)


def _alike(one: dict[str, str], other: dict[str, str]) -> int:
    return sum(one[name] == other[name] for name in other)


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
    """Of one process that takes all paths: most of what a process costs under valgrind is its start."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, source in LIBRARIES.items():
            command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(scratch / f"{name}.so"), str(source)]
            subprocess.run(command, check=True)
        command = ["valgrind", "--tool=callgrind", "--separate-threads=yes"]
        command += [f"--callgrind-out-file={scratch / 'out'}", sys.executable, str(JOB), str(FEW), str(MANY)]
        environ = {**os.environ, "LD_PRELOAD": str(scratch / "clock.so"), "PYTHONHASHSEED": "0"}
        environ["LOOMY_COUNTED_LIBRARY"] = str(scratch / "kernel.so")
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, cwd=scratch)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
        return per_job(file.read_text() for file in scratch.glob("out.*"))


def per_job(dumps: Iterable[str]) -> Counts:
    """From what was written down under "PATH TIMES", for few times and for many."""
    written: dict[str, dict[int, int]] = {}
    for dump in dumps:
        named = re.search(r"^desc: Trigger: Client Request: (.+) (\d+)$", dump, re.MULTILINE)
        total = re.search(r"^totals: (\d+)$", dump, re.MULTILINE)
        if named and total:
            written.setdefault(named[1], {})[int(named[2])] = int(total[1])
    return {path: round(_slope(totals), 1) for path, totals in sorted(written.items())}


def _slope(totals: dict[int, int]) -> float:
    (few, less), (many, more) = sorted(totals.items())
    return (more - less) / (many - few)


if __name__ == "__main__":
    sys.exit(main())
