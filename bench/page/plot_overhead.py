"""What a job costs beyond itself, by system; and the grid of tasks, threads and work."""

from __future__ import annotations

from .drawing import Plot, colour, laid_out, log_axis, shortened, spread
from .results import Figure, Json, measured, tables

_WAYS = {
    "p1": "call and wait (P1)",
    "p2": "call and wait, on a worker (P2)",
    "p3": "submit all, collect (P3)",
    "p4": "one batch (P4)",
    "p6": "executor: submit, result (P6)",
    "p7": "await one by one (P7)",
}
_FLOOR = "sequential"


def overhead(results: Json) -> Plot:
    """One dot plot a way of asking: systems side by side on a logarithmic axis, the cheapest at the top."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    panels = [(way, figures) for way in _WAYS if (figures := _first_table(results, way))]
    name, title = "overhead", "Overhead per job, by system"
    if not panels:
        return Plot(name, title, "", None, "none of P1, P2, P3, P4, P6, P7 was measured")
    rows = -(-len(panels) // 2)
    figure = make_subplots(
        rows,
        2,
        subplot_titles=[_WAYS[way] for way, _ in panels],
        horizontal_spacing=0.2,
        vertical_spacing=0.12,
    )
    every = [figure.median for _, figures in panels for figure in figures]
    for index, (_, figures) in enumerate(panels):
        slowest_first = sorted(figures, key=lambda each: -each.median)
        figure.add_trace(
            go.Scatter(
                x=[each.median for each in slowest_first],
                y=[each.label for each in slowest_first],
                error_x=spread(slowest_first),
                mode="markers+text",
                text=[shortened(each.median) for each in slowest_first],
                textposition="middle right",
                textfont={"size": 11},
                marker={"size": 10, "color": [colour(each.competitor) for each in slowest_first]},
                hovertemplate="%{y}: %{x:.3g} us a job<extra></extra>",
                showlegend=False,
            ),
            index // 2 + 1,
            index % 2 + 1,
        )
    low, high = min(every), max(every)
    figure.update_xaxes(**log_axis("", every))
    figure.update_xaxes(range=[_decade(low) - 0.2, _decade(high) + 0.7])
    figure.update_xaxes(title_text="microseconds a job", row=rows)
    laid_out(figure, height=300 * rows + 60)
    return Plot(name, title, _said(panels), figure)


def _said(panels: list[tuple[str, list[Figure]]]) -> str:
    said = []
    for way, figures in panels:
        ours = next((each for each in figures if each.competitor in ("loomy", "executor")), None)
        peers = [each for each in figures if each.competitor not in ("loomy", "executor", _FLOOR)]
        if ours and peers:
            best = min(peers, key=lambda each: each.median)
            cost = f"{shortened(ours.median)} us; {best.label}, the best peer, {shortened(best.median)}"
            said.append(f"{_WAYS[way]}: {cost}")
    return (
        "Dots are medians, bars go from the lowest round to the highest; the axis is logarithmic. "
        + ". ".join(said)
        + ". sequential is no pool at all, and the floor."
    )


def _first_table(results: Json, scenario: str) -> list[Figure]:
    found = tables(results, scenario)
    return [each for each in measured(found[0]) if each.median > 0] if found else []


def _decade(value: float) -> float:
    from math import log10

    return log10(value)


def grid(results: Json) -> Plot:
    """P8: a group of bars for each amount of work, a bar for each system."""
    import plotly.graph_objects as go

    name, title = "grid", "1,000 tasks on 8 threads, with making and closing the pool (P8)"
    cells = [
        (table["title"].split(" x ")[2].split(",")[0], measured(table)) for table in tables(results, "p8")
    ]
    cells = [(work, figures) for work, figures in cells if figures]
    if not cells:
        return Plot(name, title, "", None, "P8 was not measured")
    cheapest_first = (
        each.label for _, figures in cells for each in sorted(figures, key=lambda at: at.median)
    )
    systems = list(dict.fromkeys(cheapest_first))
    figure = go.Figure()
    for system in systems:
        of_system = [(work, each) for work, figures in cells for each in figures if each.label == system]
        figure.add_trace(
            go.Bar(
                x=[f"{work} tasks" for work, _ in of_system],
                y=[each.median for _, each in of_system],
                error_y=spread(each for _, each in of_system),
                name=system,
                marker_color=colour(system),
                text=[shortened(each.median) for _, each in of_system],
                textposition="outside",
                textangle=0,
                textfont={"size": 10},
                cliponaxis=False,
                hovertemplate=f"{system}, %{{x}}: %{{y:.3g}} ms<extra></extra>",
            )
        )
    every = [each.median for _, figures in cells for each in figures]
    laid_out(figure, height=480, barmode="group", yaxis=log_axis("milliseconds in all", every))
    ahead = [
        work
        for work, figures in cells
        if (first := min(_pools(figures), key=lambda each: each.median, default=None))
        and first.label == "loomy"
    ]
    said = (
        f"What a short script sees. Of the pools, loomy takes the least time for {_listed(ahead)} tasks "
        f"({len(ahead)} of {len(cells)} columns). Under the GIL no pool can be faster than sequential "
        "when the work is pure Python."
    )
    return Plot(name, title, said, figure)


def _pools(figures: list[Figure]) -> list[Figure]:
    return [each for each in figures if each.label != _FLOOR]


def _listed(words: list[str]) -> str:
    return ", ".join(words) or "none of these"
