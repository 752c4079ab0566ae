"""The standard library's own tests of its thread pool, on ours; the runner lies beside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUNNER = (
    Path(os.environ.get("LOOMY_CONFORMANCE") or ROOT.parent / "shared" / "conformance") / "run_cf_suite.py"
)

# Every private test that hangs, for it asks for threads before they are needed, is given up after so long.
SECONDS_FOR_ONE = 20


@pytest.mark.skipif("LOOMY_CI" in os.environ, reason=".ci/run runs them itself, and shows each")
@pytest.mark.skipif(
    not RUNNER.is_file(), reason=f"{RUNNER} is not there; LOOMY_CONFORMANCE may name its folder"
)
@pytest.mark.timeout(600, method="thread")
def test_the_standard_librarys_own_tests_pass(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    command = [sys.executable, RUNNER, "loomy:Executor", "--timeout", SECONDS_FOR_ONE, "--json", rows]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=570, check=False
    )
    assert rows.is_file(), done.stdout + done.stderr
    totals = json.loads(rows.read_text())["totals"]
    assert totals["public_failed"] == totals["private_crashed"] == [], done.stdout
    assert totals["public"]["total"] >= 34  # as many as the standard library's own executor passes
    assert done.returncode == 0, done.stdout + done.stderr
