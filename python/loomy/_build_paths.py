"""Where the files are that native kernels are built with: in the package, also of an editable install."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ("get_cmake_dir", "get_include")

_PACKAGE = Path(os.path.abspath(__file__)).parent


def get_include() -> str:
    """The directory for a compiler's `-I`: it has `loomy/kernel.h`, `loomy/kernel.hpp` and `loomy/host.h`."""
    return str(_PACKAGE / "include")


def get_cmake_dir() -> str:
    """The directory for CMake's `-Dloomy_DIR=`, with which `find_package(loomy)` finds `loomy::kernel`."""
    return str(_PACKAGE / "cmake")
