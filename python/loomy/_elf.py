"""The functions that a shared library of Linux and other ELF systems exports, read from its file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

__all__ = ("exported_functions",)

_DYNAMIC_SYMBOLS = 11  # SHT_DYNSYM
_FUNCTION = 2  # STT_FUNC
_INDIRECT = 10  # STT_GNU_IFUNC
_LOCAL = 0  # STB_LOCAL
_HIDDEN = (1, 2)  # STV_INTERNAL, STV_HIDDEN


@dataclass(frozen=True)
class _Section:
    kind: int
    offset: int
    size: int
    link: int
    entry: int


def exported_functions(path: str | Path) -> list[str]:
    """Their names, in the order of the table. `ValueError` if that is no ELF file or a damaged one."""
    data = Path(path).read_bytes()
    if data[:4] != b"\x7fELF":
        raise ValueError(f"{path} is no ELF shared library")
    try:
        order = {1: "<", 2: ">"}[data[5]]
        wide = {1: False, 2: True}[data[4]]
        return _functions(data, order, wide)
    except (KeyError, IndexError, struct.error) as error:
        raise ValueError(f"{path} is a damaged ELF file") from error


def _functions(data: bytes, order: str, wide: bool) -> list[str]:
    start, size, count = _section_table(data, order, wide)
    sections = [_section(data, order, wide, start + k * size) for k in range(count)]
    names: list[str] = []
    for one in sections:
        if one.kind == _DYNAMIC_SYMBOLS:
            names += _names(data, order, wide, one, sections[one.link])
    return names


def _section_table(data: bytes, order: str, wide: bool) -> tuple[int, int, int]:
    """Offset of the section headers, the size of one, and how many there are."""
    start: int
    (start,) = struct.unpack_from(order + ("Q" if wide else "I"), data, 0x28 if wide else 0x20)
    size, count = struct.unpack_from(order + "HH", data, 0x3A if wide else 0x2E)
    if start == 0:
        raise ValueError(
            "its section headers were stripped, so its symbols cannot be listed: give their names"
        )
    if count == 0:  # too many for the field: then the first header has it
        count = struct.unpack_from(order + ("Q" if wide else "I"), data, start + (0x20 if wide else 0x14))[0]
    return start, size, count


def _section(data: bytes, order: str, wide: bool, at: int) -> _Section:
    layout = "IIQQQQIIQQ" if wide else "IIIIIIIIII"
    _, kind, _, _, offset, size, link, _, _, entry = struct.unpack_from(order + layout, data, at)
    return _Section(kind, offset, size, link, entry)


def _names(data: bytes, order: str, wide: bool, table: _Section, text: _Section) -> list[str]:
    found = []
    for at in range(table.offset, table.offset + table.size, table.entry):
        if wide:
            name, info, other, section = struct.unpack_from(order + "IBBH", data, at)
        else:
            name, _, _, info, other, section = struct.unpack_from(order + "IIIBBH", data, at)
        defined_here = section != 0 and info >> 4 != _LOCAL and other & 3 not in _HIDDEN
        if defined_here and info & 15 in (_FUNCTION, _INDIRECT):
            end = data.index(b"\0", text.offset + name)
            found.append(data[text.offset + name : end].decode("utf-8", "replace"))
    return found
