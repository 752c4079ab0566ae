"""Pieces of HTML: text is escaped here and nowhere else."""

from collections.abc import Iterable, Sequence
from html import escape


def text(words: object) -> str:
    """Escaped; what stands between backticks becomes code."""
    parts = escape(str(words), quote=False).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def items(lines: Iterable[str]) -> str:
    listed = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f"<ul>{listed}</ul>" if listed else ""


def row(cells: Sequence[str], ours: bool = False) -> str:
    """The cells are HTML already, with their <td>."""
    return f"<tr class='{'ours' if ours else ''}'>{''.join(cells)}</tr>"


def cell(words: object, kind: str = "") -> str:
    return f'<td class="{kind}">{text(words)}</td>' if kind else f"<td>{text(words)}</td>"


def table(header: Iterable[str], rows: Iterable[str], kind: str = "figures") -> str:
    head = "".join(f"<th>{text(name)}</th>" for name in header)
    inside = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="wide"><table class="{kind}">{inside}</table></div>'


def folded(summary: str, inside: str) -> str:
    return f"<details><summary>{text(summary)}</summary>{inside}</details>" if inside else ""
