"""Rules about the code itself, checked by reading it. Each failure names the lines and says what to do."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import re
import tomllib
from collections.abc import Iterator
from types import ModuleType

import pytest
import source_rules as rules
from source_rules import ROOT, Rule, Source, sources

import loomy

CPP = sources("cpp", ".hpp", ".h", ".cpp")
PYTHON = sources("python", ".py", ".pyi")


def report(found: list[str], what_to_do: str) -> None:
    if found:
        pytest.fail("\n".join([what_to_do, *found]), pytrace=False)


# C++: each rule, what to do about a line it finds, and a file that breaks it, so that it is known to work.

CORE = "cpp/loomy/exec/pool.cpp"
BINDING = "cpp/bindings/register_pool.cpp"
HEADER = "cpp/loomy/exec/pool.hpp"
MODULE = "cpp/bindings/module.cpp"

CPP_RULES: list[tuple[Rule, str, str, str]] = [
    (
        rules.includes_against_the_arrows,
        "Layers point one way, base <- sync <- kernel <- exec <- bindings: move it.",
        "cpp/loomy/sync/parker.hpp",
        '#include "loomy/exec/pool.hpp"',
    ),
    (
        rules.python_in_the_core,
        "cpp/loomy knows nothing of Python: put it in cpp/bindings, behind the job or the observer.",
        CORE,
        "// needs the GIL",
    ),
    (
        rules.gil_outside_its_file,
        "Only cpp/bindings/gil.* spells these: use a guard from there, or add one.",
        BINDING,
        "py::gil_scoped_release detached;",
    ),
    (
        rules.fences_outside_sync,
        "ThreadSanitizer does not see fences: order an operation on the atomic, or use what sync/ has.",
        CORE,
        "std::atomic_thread_fence(std::memory_order_seq_cst);",
    ),
    (
        rules.accesses_without_memory_order,
        "Write the memory order out, and name its partner in a comment.",
        CORE,
        "while (!queue.next->load()) {}",
    ),
    (
        rules.headers_without_pragma_once,
        "The first line of a header is #pragma once.",
        HEADER,
        "#ifndef POOL_HPP",
    ),
    (rules.banned_words_in_cpp, "There is a better way:", CORE, "std::this_thread::yield();"),
    (
        rules.unfinished_or_decorated,
        "Finish it or file an issue; no licence blocks and no banners in files.",
        CORE,
        "// ==== helpers ====",
    ),
    (rules.too_long, "A file of so many lines is probably two ideas: split it.", CORE, "\n" * 400),
    (
        rules.more_than_register_calls,
        "module.cpp is the ordered list of register calls: put this beside the type it belongs to.",
        MODULE,
        'PYBIND11_MODULE(_loomy, m) {\n    m.def("f", [] { return 1; });\n}\n',
    ),
]
NAMES = [rule.__name__ for rule, *_ in CPP_RULES]


@pytest.mark.parametrize(("rule", "what_to_do"), [case[:2] for case in CPP_RULES], ids=NAMES)
def test_cpp_has_no(rule: Rule, what_to_do: str) -> None:
    assert CPP, "there are no C++ sources here"
    report(rule(CPP), what_to_do)


@pytest.mark.parametrize(("rule", "path", "text"), [(rule, *bad) for rule, _, *bad in CPP_RULES], ids=NAMES)
def test_the_rule_would_find(rule: Rule, path: str, text: str) -> None:
    assert len(rule([Source(path, text)])) == 1


def test_cmake_lists_every_source_and_no_other() -> None:
    text = (ROOT / "CMakeLists.txt").read_text()
    listed = set(re.findall(r"\bcpp/[\w/.]+\.cpp\b", text))
    present = {file.path for file in CPP if file.path.endswith(".cpp")}
    report(sorted(present - listed), "Not in CMakeLists.txt, so never compiled:")
    report(sorted(listed - present), "In CMakeLists.txt, but there is no such file:")


def test_every_registration_is_called() -> None:
    called = set(re.findall(r"\b(register_\w+),", (ROOT / MODULE).read_text()))
    declared = {
        name
        for file in CPP
        if file.path.startswith("cpp/bindings/") and file.path.endswith(".hpp")
        for name in re.findall(
            r"^\[\[nodiscard\]\] int (register_\w+)\(PyObject\* module\);", file.text, re.MULTILINE
        )
    }
    report(sorted(declared - called), f"These register nothing until {MODULE} lists them:")
    report(
        sorted(called - declared),
        f"{MODULE} lists these; each wants a declaration in a header of cpp/bindings:",
    )


# Python

LOWER = {"errors", "hooks", "worker", "stats", "batch"}  # plain Python that the core imports
CALLED_BACK = {"context", "_threads", "_asyncio_bridge", "_options"}
MAY_IMPORT = {
    **{module: set[str]() for module in LOWER},
    **{module: LOWER | {"_loomy"} for module in CALLED_BACK},
    "pool": LOWER | CALLED_BACK | {"_loomy"},
    "_shared_pool": {"pool"},
    "aio": {"_shared_pool", "executor", "pool"},
    "_default_pool": {"_shared_pool", "pool"},
    "_c_signature": set(),
    "_elf": set(),
    "_kernel_sources": {"_c_signature", "_loomy"},
    "kernels": {"_loomy"},
    "_build_paths": set(),
    "_host_api": {"_loomy"},
}


def imports_at_import_time(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and module of ours, without those that only checkers or functions import."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "loomy":
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("loomy."):
            yield node.lineno, (node.module or "").split(".")[1]
        elif isinstance(node, ast.Import):
            ours = (alias.name for alias in node.names if alias.name.split(".")[0] == "loomy")
            yield from ((node.lineno, name.partition(".")[2] or "loomy") for name in ours)


def test_python_modules_import_only_those_below_them() -> None:
    found = []
    for file in PYTHON:
        module = file.path.removeprefix("python/loomy/").removesuffix(".py")
        if module in MAY_IMPORT:
            for line, imported in imports_at_import_time(ast.parse(file.text)):
                if imported not in MAY_IMPORT[module]:
                    found.append(f"  {file.path}:{line}: {module} imports {imported}")
    report(
        found, "loomy/__init__.py has the order: import it inside the function, or move what is shared down."
    )


def test_init_only_re_exports() -> None:
    path = "python/loomy/__init__.py"
    docstring, *rest = ast.parse((ROOT / path).read_text()).body
    assert isinstance(docstring, ast.Expr)
    found = []
    for node in rest:
        exports = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if not (exports or isinstance(node, ast.ImportFrom)):
            found.append(f"  {path}:{node.lineno}: {ast.unparse(node).splitlines()[0]}")
    report(found, "loomy/__init__.py only imports and lists: put this in a module.")


def test_no_python_file_is_unfinished_or_decorated() -> None:
    report(
        rules.unfinished_or_decorated(PYTHON), "Finish it or file an issue; no licence blocks, no banners."
    )


def test_no_python_file_is_too_long() -> None:
    # The stub of the one extension module mirrors it, and can be only one file.
    files = [file for file in PYTHON if not file.path.endswith("_loomy.pyi")]
    report(rules.too_long(files), "A file of so many lines is probably two ideas: split it.")


NAMESPACES = {"loomy.aio"}  # their names are used with the module's, as loomy.aio.to_thread


def public_modules() -> list[ModuleType]:
    names = [name for name in vars(loomy) if not name.startswith("_")]
    return [module for name in names if inspect.ismodule(module := getattr(loomy, name))]


def test_all_is_a_sorted_tuple_of_names_that_exist() -> None:
    for module in [loomy, *public_modules()]:
        names = getattr(module, "__all__", ())
        assert isinstance(names, tuple), f"{module.__name__}.__all__ must be a tuple"
        assert names, f"{module.__name__} needs an __all__"
        assert list(names) == sorted(set(names)), f"{module.__name__}.__all__ must be sorted, without doubles"
        missing = [name for name in names if not hasattr(module, name)]
        assert not missing, f"{module.__name__}.__all__ names {missing}, which do not exist"


def test_everything_public_is_exported() -> None:
    visible = {name for name, value in vars(loomy).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert visible <= set(loomy.__all__), (
        f"add {visible - set(loomy.__all__)} to __all__, or import it as private"
    )
    for module in public_modules():
        if module.__name__ in NAMESPACES:
            continue
        hidden = set(module.__all__) - set(loomy.__all__)
        assert not hidden, f"{module.__name__} offers {hidden}: export it from loomy, or make it private"


def test_exported_classes_call_themselves_loomy() -> None:
    for name in loomy.__all__:
        exported = getattr(loomy, name)
        if isinstance(exported, type):
            assert exported.__module__ == "loomy", f"set __module__ of {name}, for tracebacks and pickles"
            assert exported.__doc__, f"{name} needs a docstring"


def test_every_public_method_has_a_docstring() -> None:
    found = []
    for name in loomy.__all__:
        exported = getattr(loomy, name)
        members = [(name, exported)]
        if isinstance(exported, type) and not issubclass(exported, BaseException):
            members += [
                (f"{name}.{part}", getattr(exported, part)) for part in dir(exported) if part[0] != "_"
            ]
        for path, member in members:
            documentable = (
                callable(member) or isinstance(member, property) or inspect.isgetsetdescriptor(member)
            )
            if documentable and not inspect.getdoc(member):
                found.append(f"  {path}")
    report(found, "Public, so it needs a docstring with types, units and the errors it raises:")


def test_the_version_has_one_place() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert loomy.__version__ == importlib.metadata.version("loomy") == version, "install again: pip install ."
    files = [*CPP, *PYTHON, Source("CMakeLists.txt", (ROOT / "CMakeLists.txt").read_text())]
    found = [spot for file in files for spot in file.in_text(rf"(?<![\d.]){re.escape(version)}(?![\d.])")]
    report(found, "The version is in pyproject.toml only: take it from loomy.__version__ or LOOMY_VERSION.")
