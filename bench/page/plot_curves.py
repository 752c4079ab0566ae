"""Curves that must be flat (idle workers, queue depth), and what sleeping and waking costs."""

from __future__ import annotations

from .drawing import Plot, colour, laid_out, log_axis, shortened, spread
from .results import Figure, Json, measured, native_cases, tables


def idle_workers(results: Json) -> Plot:
    name, title = "workers", "Cost of a job against the number of idle workers"
    lines = [
        (table["title"].split(": idle workers, ")[1], measured(table))
        for table in tables(results, "idle-workers")
    ]
    return _curve(name, title, "workers", lines, "size", "idle-workers was not measured")


def queue_depth(results: Json) -> Plot:
    name, title = "depth", "Cost of a job against the number of jobs already queued"
    lines = [("submit and run", measured(table)) for table in tables(results, "queue-depth")]
    return _curve(name, title, "jobs queued before", lines, "depth", "queue-depth was not measured")


def _curve(
    name: str, title: str, axis: str, lines: list[tuple[str, list[Figure]]], key: str, absent: str
) -> Plot:
    import plotly.graph_objects as go

    figure = go.Figure()
    said = []
    dashes = ("solid", "dash", "dot")
    every: list[float] = []
    for (what, figures), dash in zip(lines, dashes, strict=False):
        for system in dict.fromkeys(each.competitor for each in figures if each.case.get(key)):
            points = [each for each in figures if each.competitor == system and each.case.get(key)]
            every += [each.median for each in points]
            figure.add_trace(
                go.Scatter(
                    x=[each.case[key] for each in points],
                    y=[each.median for each in points],
                    error_y=spread(points),
                    name=f"{system}, {what}",
                    mode="lines+markers",
                    line={"color": colour(system), "dash": dash},
                    hovertemplate="%{x}: %{y:.3g} us a job<extra>%{fullData.name}</extra>",
                )
            )
            if system == "loomy":
                first, last = points[0], points[-1]
                said.append(
                    f"loomy, {what}: {shortened(first.median)} us a job at {first.case[key]:,}, "
                    f"{shortened(last.median)} us at {last.case[key]:,}"
                )
    if not every:
        return Plot(name, title, "", None, absent)
    xs = [each.case[key] for _, figures in lines for each in figures if each.case.get(key)]
    laid_out(figure, xaxis=log_axis(axis, xs), yaxis=log_axis("microseconds a job", every))
    if key == "size":
        figure.update_xaxes(tickvals=sorted(set(xs)), ticktext=[str(x) for x in sorted(set(xs))])
    return Plot(name, title, "A flat line is what is wanted. " + "; ".join(said) + ".", figure)


_WAITS = {"park and unpark": "idle before", "submit to start": "idle before"}


def latency(results: Json) -> Plot:
    """C2: p50 and p99 of waking somebody up, by how long nothing happened before."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    name, title = "latency", "Latency percentiles against the idle gap (C2)"
    panels = [(wait, _by_gap(results, wait)) for wait in _WAITS]
    panels = [(wait, gaps) for wait, gaps in panels if gaps]
    if not panels:
        return Plot(name, title, "", None, "the native suite C2 was not measured")
    figure = make_subplots(1, len(panels), subplot_titles=[wait for wait, _ in panels], shared_yaxes=True)
    every: list[float] = []
    shown: set[str] = set()
    for column, (_, gaps) in enumerate(panels, 1):
        systems = dict.fromkeys(row["competitor"] for rows in gaps.values() for row in rows)
        for system in systems:
            for percentile, dash in (("p50", "solid"), ("p99", "dot")):
                points = [
                    (gap, row[percentile] / 1e3)
                    for gap, rows in gaps.items()
                    for row in rows
                    if row["competitor"] == system and percentile in row
                ]
                every += [value for _, value in points]
                label = f"{system}, {percentile}"
                figure.add_trace(
                    go.Scatter(
                        x=[_gap_label(gap) for gap, _ in points],
                        y=[value for _, value in points],
                        name=label,
                        legendgroup=label,
                        showlegend=label not in shown,
                        mode="lines+markers",
                        line={"color": colour(system), "dash": dash},
                        hovertemplate="%{x}: %{y:.3g} us<extra>%{fullData.name}</extra>",
                    ),
                    1,
                    column,
                )
                shown.add(label)
    figure.update_xaxes(title_text="idle before", type="category")
    laid_out(figure, height=480)
    figure.update_yaxes(**log_axis("", every))
    figure.update_yaxes(title_text="microseconds", col=1)
    return Plot(
        name,
        title,
        "Full lines are medians, dotted ones the 99th percentile. Who spins is quick after short gaps; after "
        "long ones everybody sleeps, and waking up is the system's price.",
        figure,
    )


def _by_gap(results: Json, beginning: str) -> dict[float, list[Json]]:
    found: dict[float, list[Json]] = {}
    for case, rows in native_cases(results, "C2", beginning).items():
        found[_gap_of(case)] = [row for row in rows if "median_ns" in row]
    return {gap: rows for gap, rows in sorted(found.items()) if rows}


def _gap_of(case: str) -> float:
    return float(case.split("idle for ")[1].split(" us")[0])


def _gap_label(gap: float) -> str:
    return f"{gap:g} us"
