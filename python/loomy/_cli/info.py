"""`python -m loomy info`: what this build is and what it sees of the machine."""

from __future__ import annotations

import json
import platform
import sys
import sysconfig

import loomy
from loomy import _loomy


def facts() -> dict[str, object]:
    cpus = _loomy.usable_cpus()
    return {
        "version": loomy.__version__,
        "build": dict(_loomy.build_info()),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "free_threaded": free_threaded(),
        "gil_enabled": gil_enabled(),
        "usable_cpus": cpus,
        "default_pool_size": cpus,
    }


def free_threaded() -> bool:
    """Whether this Python was built to run without the GIL."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def gil_enabled() -> bool:
    """Whether the GIL is on now: on a free-threaded build an extension that needs it switches it on."""
    ask = getattr(sys, "_is_gil_enabled", None)
    return True if ask is None else bool(ask())


def threading_model() -> str:
    if not free_threaded():
        return "with the GIL"
    return "free-threaded, but the GIL was switched on" if gil_enabled() else "free-threaded"


def info(*, as_json: bool) -> int:
    found = facts()
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    build = found.pop("build")
    assert isinstance(build, dict)
    lines = {
        "loomy": found["version"],
        **{str(name).replace("_", " "): value for name, value in build.items()},
        "Python": f"{found['implementation']} {found['python']}, {threading_model()}",
        "usable CPUs": found["usable_cpus"],
        "default pool size": found["default_pool_size"],
    }
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:<{width}}  {value}")
    return 0
