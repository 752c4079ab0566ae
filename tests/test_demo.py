"""`python -m loomy demo` and `python -m loomy info`, run as a person runs them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import pty
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loomy._cli.demo import compare
from loomy._cli.files import Unreadable, find_files
from loomy._cli.hashing import BLOCK, Hashed, hash_file
from loomy._cli.overhead import overhead_per_job
from loomy._cli.report import printable
from loomy._cli.ways import WAYS

LOOMY = [sys.executable, "-m", "loomy"]
HANG = 30  # seconds after which a command counts as hung


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*LOOMY, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr
    return done


def run_json(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run(*arguments, "--json", code=code).stdout)
    return document


def listing_digest(root: Path, files: list[str]) -> str:
    """What the demo reports, worked out from the files with hashlib alone."""
    lines = [f"{hashlib.sha256((root / name).read_bytes()).hexdigest()}  {name}\n".encode() for name in files]
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").write_bytes(b"")
    (root / "one").write_bytes(b"1")
    (root / "exact").write_bytes(b"x" * BLOCK)
    (root / "large").write_bytes(os.urandom(3 * BLOCK + 17))
    (root / "deep" / "er" / "naïve ü.txt").write_text("text")
    return root


FILES = ["empty", "one", "exact", "large", "deep/er/naïve ü.txt"]


def test_digests_agree_with_hashlib(tree: Path) -> None:
    found = run_json("demo", tree)
    assert found["digests_agree"] is True
    assert found["files"] == len(FILES)
    assert found["bytes"] == sum((tree / name).stat().st_size for name in FILES)
    assert found["listing_sha256"] == listing_digest(tree, FILES)
    assert found["unreadable"] == found["changed"] == found["disagreeing"] == []


def test_every_way_hashes_every_file(tree: Path) -> None:
    paths = [str(tree / name) for name in FILES]
    expected = {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths}
    for way in WAYS.values():
        outcomes = list(way(paths, 2))
        assert {
            outcome.path: outcome.digest for outcome in outcomes if isinstance(outcome, Hashed)
        } == expected


def test_json_is_one_document_with_a_fixed_schema(tree: Path) -> None:
    found = run_json("demo", tree, "--workers", "3")
    assert list(found) == [
        "loomy", "python", "free_threaded", "gil_enabled", "directory", "workers", "files", "bytes",
        "listing_sha256", "digests_agree", "runs", "overhead", "unreadable", "changed", "disagreeing",
    ]  # fmt: skip
    assert found["workers"] == 3
    assert found["directory"] == str(tree)
    assert [each["name"] for each in found["runs"]] == ["one by one", "ThreadPoolExecutor", "loomy.Pool"]
    for each in found["runs"]:
        assert list(each) == ["name", "seconds", "speed_up", "overhead_seconds_per_job"]
        assert each["seconds"] > 0
        assert each["speed_up"] > 0
    assert found["runs"][0]["speed_up"] == 1
    assert found["runs"][0]["overhead_seconds_per_job"] is None
    assert all(each["overhead_seconds_per_job"] > 0 for each in found["runs"][1:])


def test_table_has_a_row_for_each_way(tree: Path) -> None:
    lines = run("demo", tree).stdout.splitlines()
    for name in WAYS:
        (row,) = [line for line in lines if line.startswith(name)]
        assert row.removeprefix(name).split()[0] == str(len(FILES))
    assert any(listing_digest(tree, FILES) in line for line in lines)


def test_unreadable_files_are_reported_counted_and_not_fatal(tree: Path) -> None:
    (tree / "dangling").symlink_to("nowhere")
    (tree / "itself").symlink_to("itself")
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "socket", stat.S_IFSOCK | 0o600)
    (tree / "device").symlink_to("/dev/null")
    expected = {"dangling", "itself", "fifo", "socket", "device"}
    if sys.platform == "linux":
        (tree / "memory").symlink_to("/proc/self/mem")  # a regular file that can be opened but not read
        expected.add("memory")

    done = run("demo", tree, "--json")
    found = json.loads(done.stdout)
    assert {Path(each["path"]).name for each in found["unreadable"]} == expected
    assert found["digests_agree"] is True
    assert found["listing_sha256"] == listing_digest(tree, FILES)
    for name in expected:
        assert f"skipped {tree / name}: " in done.stderr


def test_loops_of_directory_links_do_not_matter(tree: Path) -> None:
    (tree / "deep" / "up").symlink_to(tree)
    (tree / "linked").symlink_to(tree / "one")
    found = run_json("demo", tree)
    assert found["listing_sha256"] == listing_digest(tree, [*FILES, "linked"])
    assert found["unreadable"] == []


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that other users may enter, as those of `tmp_path` are not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_files_and_directories_without_permission_are_counted(public_directory: Path) -> None:
    (public_directory / "open").write_text("open")
    (public_directory / "secret").write_text("secret")
    (public_directory / "secret").chmod(0)
    (public_directory / "closed").mkdir(mode=0)
    script = """
import json, os, sys
from loomy._cli.files import find_files
from loomy._cli.hashing import Hashed, hash_file
if os.geteuid() == 0:
    os.seteuid(65534)  # root may read everything
paths, unreadable = find_files(sys.argv[1])
outcomes = [hash_file(path, lambda: None) for path in paths]
unreadable += [outcome for outcome in outcomes if not isinstance(outcome, Hashed)]
print(json.dumps([len(paths), unreadable]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, public_directory],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=True,
    )
    assert json.loads(done.stdout) == [
        2,
        [
            [str(public_directory / "closed"), "Permission denied"],
            [str(public_directory / "secret"), "Permission denied"],
        ],
    ]


def test_a_file_that_vanished_or_became_a_fifo_is_unreadable(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert hash_file(str(tmp_path / "gone"), lambda: None) == Unreadable(
        str(tmp_path / "gone"), "No such file or directory"
    )
    assert hash_file(str(tmp_path / "fifo"), lambda: None) == Unreadable(
        str(tmp_path / "fifo"), "not a regular file but a fifo"
    )


def test_a_job_polls_before_and_between_blocks(tree: Path) -> None:
    polls: list[None] = []
    hash_file(str(tree / "large"), lambda: polls.append(None))
    assert len(polls) == 1 + 4  # once before, then after each of the four blocks


def test_files_come_in_sorted_order(tree: Path) -> None:
    paths, _ = find_files(str(tree))
    assert paths == sorted(str(tree / name) for name in FILES)


def test_changed_files_are_told_from_disagreeing_ones(tmp_path: Path) -> None:
    reference = {}
    for name in ("same", "changed", "wrong", "gone"):
        (tmp_path / name).write_text(name)
        outcome = hash_file(str(tmp_path / name), lambda: None)
        assert isinstance(outcome, Hashed)
        reference[outcome.path] = outcome
    later: dict[str, Hashed | Unreadable] = {
        path: outcome if path.endswith("same") else outcome._replace(digest="other")
        for path, outcome in reference.items()
    }
    (tmp_path / "changed").write_text("something longer")
    (tmp_path / "gone").unlink()
    changed, disagreeing = compare(reference, [later])
    assert [Path(path).name for path in changed] == ["changed", "gone"]
    assert [Path(path).name for path in disagreeing] == ["wrong"]


def test_an_empty_directory_works(tmp_path: Path) -> None:
    found = run_json("demo", tmp_path)
    assert (found["files"], found["bytes"], found["digests_agree"]) == (0, 0, True)
    assert "0 files" in run("demo", tmp_path).stdout


@pytest.mark.parametrize("name", ["missing", "a file"])
def test_a_directory_that_is_none_is_a_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_text("")
    done = run("demo", tmp_path / name, code=2)
    assert done.stderr.startswith(f"loomy: cannot list {tmp_path / name}: ")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_a_worker_count_that_is_none_is_a_usage_error(tmp_path: Path, workers: str) -> None:
    assert "--workers" in run("demo", tmp_path, f"--workers={workers}", code=2).stderr


def test_names_that_a_terminal_could_obey_are_escaped(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path)
    os.symlink("nowhere", root + b"/\x1b[2J\n\xff")
    done = run("demo", tmp_path, "--json")
    assert "\\x1b[2J\\n\\udcff" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert printable("/plain/naïve") == "/plain/naïve"


def test_without_arguments_it_says_how_to_call_it() -> None:
    assert "demo" in run(code=2).stderr
    assert "--no-progress" in run("demo", "--help").stdout


def test_version_is_that_of_the_package() -> None:
    assert run("--version").stdout == f"loomy {importlib.metadata.version('loomy')}\n"


def test_default_directory_is_the_standard_library(tree: Path) -> None:
    script = """
import sys, sysconfig
from loomy.__main__ import main
assert sysconfig.get_path("stdlib")
sysconfig.get_path = lambda name: {"stdlib": sys.argv[1]}[name]
sys.exit(main(["demo", "--json"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tree], capture_output=True, text=True, timeout=HANG, check=True
    )
    assert json.loads(done.stdout)["directory"] == str(tree)


def test_overhead_of_both_pools_is_measured() -> None:
    assert set(overhead_per_job(2)) == {"ThreadPoolExecutor", "loomy.Pool"}


# Ctrl-C. The files are sparse, and hashing them takes minutes: ending soon shows that the jobs stopped.

INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have ignored it
from loomy._cli import demo, progress, ways
from loomy.__main__ import main
def only_one_way(directory, **_):
    paths, _ = demo.find_files(directory)
    demo.hash_all(ways.WAYS[sys.argv[2]], paths, 2, progress.Progress(False), "", 0)
    return 0
if sys.argv[2]:
    demo.demo = only_one_way
print("ready", flush=True)
sys.exit(main(["demo", sys.argv[1]]))
"""


@pytest.mark.parametrize("way", ["", *WAYS])
def test_ctrl_c_ends_it_in_the_middle_of_huge_files(tmp_path: Path, way: str) -> None:
    for number in range(5):
        with open(tmp_path / str(number), "wb") as file:
            file.truncate(1 << 40)
    assert interrupt(tmp_path, way) == (130, "\nloomy: interrupted\n")


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_ends_it_in_the_middle_of_many_files(tmp_path: Path, way: str) -> None:
    with open(tmp_path / "0", "wb") as file:
        file.truncate(1 << 28)
    for number in range(1, 5_000):
        os.link(tmp_path / "0", tmp_path / str(number))
    assert interrupt(tmp_path, way) == (130, "\nloomy: interrupted\n")


def interrupt(directory: Path, way: str) -> tuple[int, str]:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, directory, way],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.4)  # nothing tells from outside that the jobs run; sooner would only test less
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=10)
        finally:
            process.kill()
        return process.returncode, errors


@pytest.mark.parametrize("command", ["demo", "info"])
def test_a_reader_that_goes_away_is_no_traceback(tree: Path, command: str) -> None:
    arguments = [command, tree] if command == "demo" else [command]
    with subprocess.Popen(
        [*LOOMY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(HANG) == 141


# The progress bar.


def run_on_a_terminal(*arguments: str | Path, prelude: str = "") -> tuple[str, str]:
    """Standard output, a pipe, and what a terminal on standard error was shown."""
    script = f"import sys; {prelude}\nfrom loomy.__main__ import main; sys.exit(main(sys.argv[1:]))"
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (25, 80))
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=theirs, text=True
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # how Linux says that nobody has the terminal open any more
                break
            if not piece:
                break
            shown += piece
        os.close(ours)
        assert process.stdout is not None
        output = process.stdout.read()
        assert process.wait(HANG) == 0
    return output, shown.decode()


def test_a_terminal_is_shown_a_progress_bar(tree: Path) -> None:
    pytest.importorskip("tqdm")
    output, shown = run_on_a_terminal("demo", tree, "--json")
    assert json.loads(output)["files"] == len(FILES)
    for name in WAYS:
        assert f"{name}: " in shown
    assert "%|" in shown


def test_no_bar_when_none_is_wanted(tree: Path) -> None:
    assert run_on_a_terminal("demo", tree, "--json", "--no-progress")[1] == ""


def test_no_bar_without_a_terminal(tree: Path) -> None:
    assert run("demo", tree).stderr == ""


def test_without_tqdm_one_line_says_how_to_get_the_bar(tree: Path) -> None:
    output, shown = run_on_a_terminal("demo", tree, "--json", prelude="sys.modules['tqdm'] = None")
    assert json.loads(output)["files"] == len(FILES)
    assert shown.splitlines() == ["loomy: pip install 'loomy[progress]' for a progress bar"]


# info


def test_info_says_what_this_build_is() -> None:
    found = run_json("info")
    assert found["version"] == importlib.metadata.version("loomy")
    assert found["python"] == sys.version.split()[0]
    assert found["usable_cpus"] >= 1
    assert found["default_pool_size"] == found["usable_cpus"]
    assert isinstance(found["gil_enabled"], bool)
    assert found["build"]
    text = run("info").stdout
    assert found["version"] in text
    for value in found["build"].values():
        assert str(value) in text
