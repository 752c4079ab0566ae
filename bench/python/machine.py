"""What a recorded run ran on."""

import os
import platform
import subprocess
import sys
import sysconfig
import time
from pathlib import Path


def describe() -> dict[str, str]:
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "commit": _commit(),
        "CPU": f"{_cpu_model()}, {len(usable_cpus())} usable",
        "system": f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}".rstrip(", "),
        "Python": f"{platform.python_implementation()} {platform.python_version()}"
        + (", free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")
        + f", switch interval {sys.getswitchinterval() * 1e3:g} ms",
        "load before": " ".join(f"{load:.2f}" for load in _load()),
    }


def usable_cpus() -> set[int]:
    if sys.platform == "linux":
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _load() -> tuple[float, ...]:
    return os.getloadavg() if hasattr(os, "getloadavg") else ()


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """The checkout's commit; an installed loomy may be another, which its version in the tables tells."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
