"""How much faster more workers are, on the default build and on a free-threaded one."""

from __future__ import annotations

from .drawing import Plot, colour, laid_out, shortened
from .results import Figure, Json, measured, tables

_NAME = "scaling"
_TITLE = "Scaling with workers, with the GIL and without (P9, P15)"


def scaling(results: Json) -> Plot:
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    builds = [run for run in [results, *results["also"]] if tables(run, "p15")]
    if not builds:
        return Plot(_NAME, _TITLE, "", None, "P15 was not measured")
    works = [_work(table["title"]) for table in tables(builds[0], "p15")]
    figure = make_subplots(1, len(works), subplot_titles=works, shared_yaxes=True)
    shown: set[str] = set()
    said = []
    most = 1
    for build in builds:
        python = _python(build)
        dash = "dot" if "free-threaded" in python else "solid"
        for column, table in enumerate(tables(build, "p15"), 1):
            figures = measured(table)
            alone = next((each for each in figures if each.competitor == "sequential"), None)
            for system in dict.fromkeys(each.competitor for each in figures if each.case["size"]):
                points = [each for each in figures if each.competitor == system and each.case["size"]]
                if alone is None or not points:
                    continue
                most = max(most, *(int(each.case["size"]) for each in points))
                label = f"{system}, {python}"
                figure.add_trace(
                    go.Scatter(
                        x=[each.case["size"] for each in points],
                        y=[alone.median / each.median for each in points],
                        name=label,
                        legendgroup=label,
                        showlegend=label not in shown,
                        mode="lines+markers",
                        line={"color": colour(system), "dash": dash},
                        hovertemplate="%{x} workers: %{y:.2f} x sequential<extra>%{fullData.name}</extra>",
                    ),
                    1,
                    column,
                )
                shown.add(label)
                if system == "loomy":
                    said.append(f"{works[column - 1]}, {python}: {_speed_up(alone, points[-1])}")
    for column in range(1, len(works) + 1):
        ideal = go.Scatter(
            x=[1, most],
            y=[1, most],
            name="ideal",
            legendgroup="ideal",
            showlegend=column == 1,
            mode="lines",
            line={"color": "#cccccc", "width": 1},
            hoverinfo="skip",
        )
        figure.add_trace(ideal, 1, column)
    figure.update_xaxes(title_text="workers", dtick=1)
    laid_out(
        figure, height=440, yaxis={"title": {"text": "times as fast as sequential"}, "rangemode": "tozero"}
    )
    return Plot(_NAME, _TITLE, f"loomy, {'; '.join(said)}.{_missing_builds(builds)}", figure)


def _speed_up(alone: Figure, last: Figure) -> str:
    times = shortened(alone.median / last.median)
    return f"{times} times as fast as sequential with {last.case['size']} workers"


def _work(title: str) -> str:
    return str(title).split(" jobs of ")[1]


def _python(run: Json) -> str:
    version = run["machine"]["Python"].split(",")[0].removeprefix("CPython ")
    return f"{version}, {'free-threaded' if 'free-threaded' in run['machine']['Python'] else 'GIL'}"


def _missing_builds(builds: list[Json]) -> str:
    kinds = {"free-threaded" in build["machine"]["Python"] for build in builds}
    wanted = {False: "a GIL build", True: "a free-threaded build"}
    absent = [name for kind, name in wanted.items() if kind not in kinds]
    return "".join(
        f" Nothing of {name} is shown: give its results with --also FILE, or its Python with "
        "--free-threaded PYTHON."
        for name in absent
    )
