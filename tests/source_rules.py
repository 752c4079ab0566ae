"""Rules about our sources. Each returns the lines that break it; test_codebase.py applies them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent

COMMENT_OR_LITERAL = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'|//[^\n]*|/\*.*?\*/', re.DOTALL)


@dataclass(frozen=True)
class Source:
    path: str  # from the root of the repository, with forward slashes
    text: str

    @cached_property
    def code(self) -> str:
        """A C++ file without its comments, line for line."""

        def blank(match: re.Match[str]) -> str:
            return "\n" * match[0].count("\n") if match[0].startswith("/") else match[0]

        return COMMENT_OR_LITERAL.sub(blank, self.text)

    def spot(self, offset: int, text: str) -> str:
        """The line of `text`, which is this file or its code, that has `offset`."""
        line = text.count("\n", 0, offset)
        return f"  {self.path}:{line + 1}: {text.split(chr(10))[line].strip()}"

    def in_text(self, pattern: str) -> list[str]:
        return [self.spot(hit.start(), self.text) for hit in re.finditer(pattern, self.text, re.MULTILINE)]

    def in_code(self, pattern: str) -> list[str]:
        return [self.spot(hit.start(), self.code) for hit in re.finditer(pattern, self.code, re.MULTILINE)]


def sources(folder: str, *suffixes: str) -> list[Source]:
    files = sorted(file for file in (ROOT / folder).rglob("*") if file.suffix in suffixes)
    return [Source(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files]


Rule = Callable[[Iterable[Source]], list[str]]

LAYERS = {  # what each may include
    "base": {"base"},
    "sync": {"base", "sync"},
    "kernel": {"base", "sync", "kernel"},
    "exec": {"base", "sync", "kernel", "exec"},
}


def includes_against_the_arrows(files: Iterable[Source]) -> list[str]:
    found = []
    for file in files:
        layer = re.match(r"cpp/loomy/(\w+)/", file.path)
        if layer is None:
            continue
        for include in re.finditer(r'^ *# *include *["<]([^">]+)[">]', file.text, re.MULTILINE):
            target = re.match(r"(?:\.\./)*(?:loomy/)?(base|sync|exec|kernel|bindings)/", include[1])
            if target and target[1] not in LAYERS[layer[1]]:
                found.append(file.spot(include.start(), file.text))
    return found


def python_in_the_core(files: Iterable[Source]) -> list[str]:
    pattern = r"Python\.h|pybind11|\bGIL\b|\bgil\b|\bPy[A-Z]\w*_\w+"
    return [spot for file in files if file.path.startswith("cpp/loomy/") for spot in file.in_text(pattern)]


def gil_outside_its_file(files: Iterable[Source]) -> list[str]:
    pattern = r"Py(?:Eval|ThreadState|GILState)_\w+|gil_scoped_\w+|Py_GIL_DISABLED|Py_\w+_ALLOW_THREADS"
    return [spot for file in files if not is_gil_file(file.path) for spot in file.in_text(pattern)]


def is_gil_file(path: str) -> bool:
    return re.fullmatch(r"cpp/bindings/gil\.\w+", path) is not None


def fences_outside_sync(files: Iterable[Source]) -> list[str]:
    pattern = r"atomic_(?:thread|signal)_fence"
    return [s for file in files if not file.path.startswith("cpp/loomy/sync/") for s in file.in_code(pattern)]


def accesses_without_memory_order(files: Iterable[Source]) -> list[str]:
    access = re.compile(r"(?:\.|->)(?:load|store|exchange|fetch_\w+|compare_exchange_\w+)\(")
    order = re.compile(r"order|success|relaxed|acquire|release|acq_rel|seq_cst")
    return [
        file.spot(call.start(), file.code)
        for file in files
        for call in access.finditer(file.code)
        if not order.search(arguments(file.code, call.end()))
    ]


def arguments(code: str, start: int) -> str:
    """What stands between the parenthesis before `start` and the one that closes it."""
    depth = 1
    for end in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[end], 0)
        if depth == 0:
            return code[start:end]
    return code[start:]


def headers_without_pragma_once(files: Iterable[Source]) -> list[str]:
    headers = [file for file in files if file.path.endswith(".hpp")]
    return [file.spot(0, file.text) for file in headers if not file.text.startswith("#pragma once\n")]


YIELDS = r"\b(?:sched_yield|this_thread::yield|SwitchToThread)\b"
BANNED_IN_CPP = {
    r"\busing namespace\b": "write the namespace out, or alias it",
    YIELDS: "spin with cpu_pause and a budget, then park",
    r"\b(?:sleep_for|sleep_until|usleep|nanosleep)\b": "wait for what you wait for, with a deadline",
    r"\b(?:counting|binary)_semaphore\b": "use the parker: libstdc++ 12 wakes every waiter",
    r"(?<!asm )(?<!__asm__ )\bvolatile\b": "use std::atomic",
}


GIVES_THE_CPU_AWAY = "cpp/loomy/base/cpu.cpp"
"""The one place that yields, for workers that have work to do: nobody waits that way."""


def banned_words_in_cpp(files: Iterable[Source]) -> list[str]:
    return [
        f"{spot}  <- {instead}"
        for file in files
        for pattern, instead in BANNED_IN_CPP.items()
        if (pattern, file.path) != (YIELDS, GIVES_THE_CPU_AWAY)
        for spot in file.in_code(pattern)
    ]


def unfinished_or_decorated(files: Iterable[Source]) -> list[str]:
    pattern = r"\b(?:TODO|FIXME|XXX|HACK)\b|Copyright|SPDX|^ *(?://|#) *[-=*/#~]{4,}"
    return [spot for file in files for spot in file.in_text(pattern)]


MAX_LINES = 350


def too_long(files: Iterable[Source]) -> list[str]:
    lengths = [(file.path, file.text.count("\n")) for file in files]
    return [f"  {path}: {length} lines" for path, length in lengths if length > MAX_LINES]


IN_MODULE_CPP = re.compile(
    r"""
      ^[#]include\b.*$
    | ^namespace\ [\w:]*\ ?\{\ *$
    | ^constexpr\ registration\ in_order\[\]\ =\ \{\ *$
    | ^\ +(?:register_\w+,\ *)+$
    | ^\};?\ *$
    | ^PYBIND11_MODULE\(_loomy,[^{;]*\)\ \{\ *$
    | ^\ +loomy::py::register_all\(m,\ loomy::py::in_order\);\ *$
    """,
    re.VERBOSE | re.MULTILINE,
)


def more_than_register_calls(files: Iterable[Source]) -> list[str]:
    found = []
    for file in files:
        if file.path == "cpp/bindings/module.cpp":
            rest = IN_MODULE_CPP.sub(lambda allowed: "\n" * allowed[0].count("\n"), file.code)
            found += [file.spot(line.start(), rest) for line in re.finditer(r"\S.*", rest)]
    return found
