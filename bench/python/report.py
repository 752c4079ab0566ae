"""Tables as aligned Markdown, which reads as well in a terminal as in README.md."""

import math

from .model import Medians, RowResult, Table, Target


def medians_of(results: list[RowResult]) -> Medians:
    return Medians({result.row.label: result for result in results if result.samples and not result.failure})


def render(table: Table, results: list[RowResult]) -> str:
    medians = medians_of(results)
    extras = list(dict.fromkeys(name for result in medians.values() for name in result.extra_names()))
    header = ["system", table.unit.name, "min .. max", "wall s", "cpu s", f"x {table.reference}", *extras]
    lines = [_cells(table, result, medians, extras) for result in results]
    text = [f"### {table.title}", "", *aligned([header, *lines])]
    targets = [f"* {verdict(target, medians)}" for target in table.targets]
    notes = [f"* {note}" for note in table.notes]
    return "\n".join([*text, *([""] if targets or notes else []), *targets, *notes, ""])


def verdict(target: Target, medians: Medians) -> str:
    origin = "target" if target.origin == "spec" else "our bound"
    figure = figure_of(target, medians)
    if figure is None:
        return f"{origin}: {target.text}: not measured"
    return f"{origin}: {target.text}: {number(figure)}, {'met' if target.met(figure) else 'MISSED'}"


def figure_of(target: Target, medians: Medians) -> float | None:
    """None when a row that it is about has no figures."""
    try:
        return target.figure(medians)
    except (KeyError, ZeroDivisionError):
        return None


def _cells(table: Table, result: RowResult, medians: Medians, extras: list[str]) -> list[str]:
    name = result.row.label
    if result.missing or result.failure:
        # Markdown cells hold no line breaks and no bars.
        words = " ".join(
            (f"missing: {result.missing}" if result.missing else f"FAILED: {result.failure}")
            .replace("|", "/")
            .split()
        )
        return [name, words, *[""] * (4 + len(extras))]
    low, high = result.spread()
    scale = table.unit.scale
    reference = medians.get(table.reference)
    ratio = result.median / reference.median if reference and reference.median else math.nan
    return [
        name,
        number(result.median * scale),
        f"{number(low * scale)} .. {number(high * scale)}",
        number(result.median_of(lambda sample: sample.wall)),
        number(result.median_of(lambda sample: sample.cpu)),
        number(ratio),
        *(number(result.extra(extra)) if extra in result.extra_names() else "-" for extra in extras),
    ]


def number(value: float) -> str:
    """Three significant digits, without exponents."""
    if math.isnan(value):
        return "-"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rendered = [
        "| "
        + " | ".join(
            _padded(cell, width, column)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    ]
    ruler = (
        "|"
        + "|".join("-" * (width + 1) + ("-" if not column else ":") for column, width in enumerate(widths))
        + "|"
    )
    return [rendered[0], ruler, *rendered[1:]]


def _padded(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)
