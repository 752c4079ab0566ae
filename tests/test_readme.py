"""The README does what it says: its snippets run, its commands are those of CI, what it names exists."""

from __future__ import annotations

import re
import shlex
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


@pytest.mark.parametrize("snippet", blocks("python"))
def test_snippet_prints_what_its_comments_say(snippet: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
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
    assert script.count('"$demo_command"') == script.count('"$test_command"') == 1


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
