"""Runs loomy's benchmarks; see bench/README.md.

``python bench/run.py [SCENARIO ...]``: from Python. ``python bench/run.py cpp [SUITE ...]``: the native core.
"""

import sys

from cpp.cli import main as native
from python.cli import main

if __name__ == "__main__":
    sys.exit(native(sys.argv[2:]) if sys.argv[1:2] == ["cpp"] else main())
