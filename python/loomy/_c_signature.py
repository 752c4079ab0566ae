"""C function types, reduced to what a call instruction sees: "int (long, size_t, void *)" -> "i4(i8,i8,p)".

Two declarations that call the same way have the same text here, however they are spelled: `long`, `int64_t`,
`Py_ssize_t` and `npy_intp` are all i8 where they have 8 bytes, every pointer is p, and const means nothing.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable

__all__ = ("abi_of", "read_declaration", "read_type")

_INT = f"i{ctypes.sizeof(ctypes.c_int)}"
_LONG = f"i{ctypes.sizeof(ctypes.c_long)}"
_LONGLONG = f"i{ctypes.sizeof(ctypes.c_longlong)}"
_SHORT = f"i{ctypes.sizeof(ctypes.c_short)}"
_WORD = f"i{ctypes.sizeof(ctypes.c_void_p)}"

# Signed and unsigned pass in the same way.
_NAMED = {
    "void": "v",
    "float": "f4",
    "double": "f8",
    "_Bool": "i1",
    "bool": "i1",
    "bint": _INT,  # Cython's
    "size_t": _WORD,
    "ssize_t": _WORD,
    "Py_ssize_t": _WORD,
    "Py_hash_t": _WORD,
    "ptrdiff_t": _WORD,
    "intptr_t": _WORD,
    "uintptr_t": _WORD,
    "npy_intp": _WORD,
    "npy_uintp": _WORD,
    "intp": _WORD,
    "loomy_status": _INT,
    "npy_double": "f8",
    "npy_float": "f4",
    **{
        f"{prefix}int{bits}{suffix}": f"i{bits // 8}"
        for bits in (8, 16, 32, 64)
        for prefix in ("", "u", "npy_", "npy_u")
        for suffix in ("", "_t")
    },
    **{f"float{bits}{suffix}": f"f{bits // 8}" for bits in (32, 64) for suffix in ("", "_t")},
}
_WORDS = {"char", "short", "int", "long", "signed", "unsigned", "__int64"}
_IGNORED = {
    "const",
    "volatile",
    "restrict",
    "__restrict",
    "__restrict__",
    "register",
    "struct",
    "enum",
    "union",
}
_COMPLEX = {"_Complex", "complex"}
# What Cython writes behind a function's type.
_AFTER = re.compile(r"(?:\s*(?:noexcept|nogil|with\s+gil|except\s*(?:\*|\+|[?]?\s*-?[\w.]+)|;))*\s*$")


def abi_of(result: str, parameters: Iterable[str]) -> str:
    """The text for a function of these classes."""
    return f"{result}({','.join(parameters)})"


def read_declaration(text: str) -> str:
    """Reads "double f(int, double *)", "double (*)(int, double *)" or "double (int, double *)".

    Raises `ValueError` saying what it could not read.
    """
    head, opened, rest = text.strip().partition("(")
    inner = re.match(r"\s*(?:\w+\s+)*\*+\s*\w*\s*\)\s*\(", rest)  # of a pointer to a function
    if inner:
        rest = rest[inner.end() :]
    elif not opened:
        raise ValueError(
            f'"{text}" is no C function type, which is written like "int (intptr_t, intptr_t, void *)"'
        )
    parameters, after = _up_to_closing(rest, text)
    if not _AFTER.match(after):
        raise ValueError(f'"{text}": what does "{after.strip()}" mean?')
    result = _read(head, text, may_have_name=not inner)
    classes = [_read(one, text, may_have_name=True) for one in _split(parameters)]
    if classes == ["v"]:  # f(void)
        classes = []
    if "v" in classes:
        raise ValueError(f'"{text}": a parameter cannot be void')
    return abi_of(result, classes)


def read_type(text: str) -> str:
    """The class of one type: "v", "p", or i, f or c (complex) with its size in bytes."""
    return _read(text, text, may_have_name=False)


def _up_to_closing(text: str, whole: str) -> tuple[str, str]:
    depth = 1
    for at, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[:at], text[at + 1 :]
    raise ValueError(f'"{whole}": a closing parenthesis is missing')


def _split(text: str) -> list[str]:
    parts = [""]
    depth = 0
    for character in text:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts if "".join(parts).strip() else []


def _read(text: str, whole: str, *, may_have_name: bool) -> str:
    if "*" in text or "[" in text or "(" in text or "&" in text:
        return "p"  # parameters that are arrays or functions are pointers as well
    words = [word for word in text.split() if word not in _IGNORED]
    if words == ["..."]:
        raise ValueError(f'"{whole}": no kernel takes a variable number of arguments')
    known = next((count for count in range(len(words), 0, -1) if _class_of(words[:count])), 0)
    left = words[known:]
    if known and (not left or (may_have_name and len(left) == 1 and _is_name(left[0]))):
        found = _class_of(words[:known])
        assert found is not None
        return found
    raise ValueError(f'"{whole}": "{text.strip() or "nothing"}" is no type that is known here')


def _is_name(word: str) -> bool:
    return word.isidentifier() and word not in _NAMED and word not in _WORDS and word not in _COMPLEX


def _class_of(words: list[str]) -> str | None:
    if not words:
        return None
    if _COMPLEX & set(words):
        part = _class_of([word for word in words if word not in _COMPLEX])
        return f"c{2 * int(part[1:])}" if part is not None and part.startswith("f") else None
    if len(words) == 1 and words[0] in _NAMED:
        return _NAMED[words[0]]
    if not all(word in _WORDS for word in words):
        return "p" if words == ["object"] else None
    if "char" in words:
        return "i1"
    if "short" in words:
        return _SHORT
    if words.count("long") >= 2 or "__int64" in words:
        return _LONGLONG
    return _LONG if "long" in words else _INT
