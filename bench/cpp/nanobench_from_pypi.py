"""nanobench where only package indexes can be reached: ``python bench/cpp/nanobench_from_pypi.py FOLDER``.

The source distribution of py-bitcoinkernel carries the header of nanobench 4.3.11 as it was released.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REQUIREMENT = "py-bitcoinkernel==0.1.0a5"
SHA256 = "07d16c55346ea7a10687f32e849b97a20a7e7e8c9596cf7a529391373c154d28"


def fetch(folder: Path) -> Path:
    """Puts nanobench.h into the folder, unless it is there; RuntimeError when it cannot be had."""
    header = folder / "nanobench.h"
    if header.exists() and _is_right(header.read_bytes()):
        return header
    with tempfile.TemporaryDirectory() as scratch:
        # Not ":all:", which would compile the tools too that pip needs to look at a source distribution.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--no-binary", "py-bitcoinkernel", "--dest", scratch, REQUIREMENT]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"pip could not download {REQUIREMENT}:\n{done.stderr}")
        (archive,) = Path(scratch).glob("*.tar.gz")
        content = _member(archive)
    if not _is_right(content):
        raise RuntimeError(f"the nanobench.h in {REQUIREMENT} is not the one of release 4.3.11")
    folder.mkdir(parents=True, exist_ok=True)
    header.write_bytes(content)
    return header


def _member(archive: Path) -> bytes:
    with tarfile.open(archive) as files:
        for member in files:
            if member.name.endswith("/src/bench/nanobench.h"):
                content = files.extractfile(member)
                assert content is not None, "a header is a regular file"
                return content.read()
    raise RuntimeError(f"{REQUIREMENT} has no src/bench/nanobench.h")


def _is_right(content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == SHA256


if __name__ == "__main__":
    print(fetch(Path(sys.argv[1])))
