"""Native loops and ufuncs against the size of their arrays: each system's time divided by one thread's."""

from __future__ import annotations

from collections.abc import Iterable

from .drawing import Plot, colour, laid_out, log_axis, shortened
from .results import Json, measured, tables

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def kernels(results: Json) -> Plot:
    return _against_size(
        results, "kernels", "kernels", "Kernels against array size, beside numba, numexpr and OpenMP"
    )


def ufuncs(results: Json) -> Plot:
    return _against_size(results, "ufuncs", "ufunc", "NumPy ufuncs through loomy.ufunc, against array size")


def _against_size(results: Json, name: str, scenario: str, title: str) -> Plot:
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    works = _by_work(table for table in tables(results, scenario) if measured(table))
    if not works:
        return Plot(name, title, "", None, f"the workload {scenario} was not measured")
    columns = min(3, len(works))
    rows = -(-len(works) // columns)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=list(works),
        shared_yaxes=True,
        vertical_spacing=0.3 / rows,
        shared_xaxes=True,
    )
    shown: set[str] = set()
    said = []
    ratios: list[float] = []
    xs: list[float] = []
    for index, (work, of_work) in enumerate(works.items()):
        lines = _lines(of_work)
        for system, points in lines.items():
            ratios += [ratio for _, ratio in points]
            xs += [size for size, _ in points]
            figure.add_trace(
                go.Scatter(
                    x=[size for size, _ in points],
                    y=[ratio for _, ratio in points],
                    name=system,
                    legendgroup=system,
                    showlegend=system not in shown,
                    mode="lines+markers",
                    line={"color": colour(_family(system)), "dash": _dash(system, lines)},
                    hovertemplate="%{x:,} elements: %{y:.3g} x<extra>%{fullData.name}</extra>",
                ),
                index // columns + 1,
                index % columns + 1,
            )
            shown.add(system)
        ours = next((points for system, points in lines.items() if system.startswith("loomy")), [])
        if ours:
            worst, best = max(ours, key=lambda at: at[1]), min(ours, key=lambda at: at[1])
            said.append(
                f"{work}: between {shortened(best[1])} (at {best[0]:,}) and {shortened(worst[1])} "
                f"(at {worst[0]:,})"
            )
    figure.update_xaxes(**log_axis("", xs))
    figure.update_xaxes(title_text="size", row=rows)
    figure.add_hline(y=1, line={"color": "#999999", "width": 1})
    laid_out(figure, height=300 * rows + 120)
    figure.update_yaxes(**log_axis("", ratios))
    figure.update_yaxes(title_text="time / reference", col=1)
    return Plot(
        name,
        title,
        "Time divided by that of one thread: below the line is faster. The size is the number of elements; "
        "of mandelbrot, of rows. loomy's medians, by work: " + "; ".join(said) + ".",
        figure,
    )


def _by_work(found: Iterable[Json]) -> dict[str, list[Json]]:
    """The tables of one loop at all its sizes; each has one size."""
    works: dict[str, list[Json]] = {}
    for table in found:
        works.setdefault(_case(table)[0], []).append(table)
    return works


def _case(table: Json) -> tuple[str, int]:
    """The loop's name, and how large its arrays are."""
    case = table["rows"][0]["row"]["case"]
    return str(case.get("ufunc") or case.get("loop")), int(case.get("size") or case.get("n"))


def _lines(of_work: list[Json]) -> dict[str, list[tuple[int, float]]]:
    """By system: the size of each table, and the ratio to that table's reference."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for table in of_work:
        figures = measured(table)
        reference = next((each for each in figures if each.label == table["reference"]), None)
        for each in figures if reference else []:
            assert reference is not None
            lines.setdefault(each.label, []).append((_case(table)[1], each.median / reference.median))
    return {system: sorted(points) for system, points in lines.items()}


def _family(system: str) -> str:
    return "loomy" if system.startswith("loomy") else system


def _dash(system: str, lines: dict[str, list[tuple[int, float]]]) -> str:
    same = [other for other in lines if _family(other) == _family(system)]
    return _DASHES[same.index(system) % len(_DASHES)]
