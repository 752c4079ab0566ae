"""Run loomy's Python benchmarks: ``python bench/run.py [SCENARIO ...]``; see bench/README.md."""

import sys

from python.cli import main

if __name__ == "__main__":
    sys.exit(main())
