"""Some seconds of the soak test; ten minutes of it are run by hand: `python -m tests.soak --minutes 10`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import LONG
from soak.shared import growth

# By .ci/run a minute in all, as it has four Pythons.
MINUTES = 1.0 if LONG else 0.25 if "LOOMY_CI" in os.environ else 0.1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks and sends signals")
@pytest.mark.timeout(180, method="thread")
def test_everything_at_once_with_faults_survives() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--minutes", str(MINUTES)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "VERDICT: passed" in done.stdout


def test_memory_that_goes_on_growing_is_told_from_a_warm_up() -> None:
    warmed_up = [20.0, 30.0, 40.0] + [45.0, 50.0, 43.0] * 20
    assert growth(warmed_up) <= 0
    assert growth([size + 2 * second for second, size in enumerate(warmed_up)]) > 20
    assert growth([]) == growth([20.0, 40.0, 60.0]) == 0.0
