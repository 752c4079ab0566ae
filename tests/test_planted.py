"""The bugs that .ci/planted_bugs plants can still be planted."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PATCHES = sorted((Path(__file__).parent / "planted").glob("*.patch"))


def test_there_is_one_for_each_kind_of_report() -> None:
    words = {re.findall("^Words: *(.*)$", patch.read_text(), re.MULTILINE)[0] for patch in PATCHES}
    assert words == {
        "WARNING: ThreadSanitizer: data race",
        "ERROR: AddressSanitizer: heap-use-after-free",
        "ERROR: LeakSanitizer: detected memory leaks",
        "LONGER by more than",  # of bench/instructions.py
        "runtime error: signed integer overflow",
        "watchdog: no progress in",
    }


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
@pytest.mark.skipif(shutil.which("git") is None, reason="git, which applies the patches, is not installed")
def test_a_bug_can_still_be_planted(patch: Path) -> None:
    """Fails when the code has moved on: plant the bug by hand, and put what git diff says below the head."""
    if not (ROOT / "cpp").exists():
        pytest.skip("the sources in C++ are not part of this copy")
    done = subprocess.run(
        ["git", "apply", "--check", str(patch)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
