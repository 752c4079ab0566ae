"""The README does what it says: its snippets run, its commands are those of CI, what it names exists."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the snippets run: with the library that the README's own command makes of its own C++."""
    into = tmp_path_factory.mktemp("readme")
    (source,) = blocks("cpp")
    (into / source.splitlines()[0].removeprefix("// ")).write_text(source)
    (command,) = (block for block in blocks("sh") if block.startswith("c++ "))
    if shutil.which("c++"):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path}
        subprocess.run(["sh", "-e", "-c", command], cwd=into, env=environment, check=True)
    return into


@pytest.mark.parametrize("snippet", blocks("python"))
def test_snippet_prints_what_its_comments_say(snippet: str, folder: Path) -> None:
    for module in re.findall(r"^import (\w+)$", snippet, re.MULTILINE):
        pytest.importorskip(module)
    for library in re.findall(r'load_kernels\("(.*?)"\)', snippet):
        if not (folder / library).exists():
            pytest.skip("needs a C++ compiler, c++")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == re.findall(r"  # -> (.*)$", snippet, re.MULTILINE)


def test_every_print_of_a_snippet_says_what_comes() -> None:
    for snippet in blocks("python"):
        assert snippet.count("print(") == snippet.count("  # -> ") > 0


def test_the_two_commands_are_what_ci_runs() -> None:
    commands = re.findall(r"^```sh\n(.*)\n```$", section("Try it"), re.MULTILINE)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    of_ci = re.findall(r'^(?:demo|test)_command="(.*)"$', script, re.MULTILINE)
    assert commands == of_ci
    assert len(commands) == 2
    # each is run by one step; that of the tests then runs what failed once more
    assert len(re.findall(r'^ +step .* "\$demo_command"$', script, re.MULTILINE)) == 1
    assert len(re.findall(r'^ +step .* "\$test_command \$again"$', script, re.MULTILINE)) == 1


def test_the_developing_commands_name_scripts_that_exist() -> None:
    (block,) = re.findall(r"^```sh\n(.*?)^```$", section("Developing"), re.MULTILINE | re.DOTALL)
    words = shlex.split(block, comments=True)
    scripts = [words[index + 1] for index, word in enumerate(words) if word == "bash"]
    assert scripts
    assert [script for script in scripts if not (ROOT / script).is_file()] == []


def test_the_map_names_the_folders_that_exist() -> None:
    named = re.findall(r"^(\S+?)/? ", blocks("text")[0], re.MULTILINE)
    assert [path for path in named if not (ROOT / path).is_dir()] == []
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"build", "dist", "out"}
    hidden = {name for name in folders if name.startswith((".", "__")) and name != ".ci"}
    assert {name.split("/")[0] for name in named} == folders - hidden


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
