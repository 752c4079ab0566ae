"""Runs loomy's benchmarks; see bench/README.md.

``python bench/run.py [SCENARIO ...]``: from Python. ``python bench/run.py cpp [SUITE ...]``: the native core.
``python bench/run.py --all --report FOLDER``: everything, with a page to look at.
"""

import sys

from cpp.cli import main as native
from page.cli import OPTIONS
from page.cli import main as whole
from python.cli import main

if __name__ == "__main__":
    if sys.argv[1:2] == ["cpp"]:
        sys.exit(native(sys.argv[2:]))
    sys.exit(whole(sys.argv[1:]) if sys.argv[1:2] and sys.argv[1] in OPTIONS else main())
