"""What all plots share: colours by system, sizes, axes, and a sentence below."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .results import Figure, Json

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS = {
    "loomy": "#d62728",
    "executor": "#d62728",
    "loomy parker": "#d62728",
    "sequential": "#7f7f7f",
    "numpy": "#7f7f7f",
    "one thread": "#7f7f7f",
    "stdlib": "#1f77b4",
    "mp": "#2ca02c",
    "joblib": "#ff7f0e",
    "pebble": "#9467bd",
    "mpire": "#8c564b",
    "tbb4py": "#e377c2",
    "hypertile": "#bcbd22",
    "anyio": "#17becf",
    "dask": "#b8860b",
    "mutex + condvar": "#1f77b4",
    "std::binary_semaphore": "#2ca02c",
    "oneTBB task_group": "#e377c2",
    "OpenMP": "#1f77b4",
    "numba prange": "#2ca02c",
    "numexpr": "#ff7f0e",
}
_OTHER = "#444444"


@dataclass(frozen=True)
class Plot:
    name: str
    """What the page calls it by: the id of its element."""
    title: str
    sees: str
    """One or two sentences: what one sees."""
    figure: go.Figure | None
    absent: str = ""
    """Why there is nothing to draw."""


Draw = Callable[[Json], Plot]


def colour(system: str) -> str:
    """The same for a system in every plot."""
    return _COLOURS.get(system, _OTHER)


def shortened(number: float) -> str:
    """Three significant digits."""
    return f"{number:.3g}" if abs(number) < 1000 else f"{number:,.0f}"


def spread(figures: Iterable[Figure]) -> dict[str, Any]:
    """Error bars from the lowest round to the highest."""
    listed = list(figures)
    return {
        "type": "data",
        "symmetric": False,
        "array": [figure.high - figure.median for figure in listed],
        "arrayminus": [figure.median - figure.low for figure in listed],
        "color": "#666666",
        "thickness": 1.2,
        "width": 3,
    }


def laid_out(figure: go.Figure, *, height: int = 420, **axes: Any) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 70, "r": 30, "t": 40, "b": 60},
        font={"family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "y": -0.22, "x": 0},
        hoverlabel={"namelength": -1},
        **axes,
    )
    return figure


def log_axis(title: str, values: Iterable[float]) -> dict[str, Any]:
    """A logarithmic axis with a label per decade; for a narrow range, at 1, 2 and 5 as well."""
    positive = [value for value in values if value > 0]
    narrow = bool(positive) and max(positive) / min(positive) < 200
    return {
        "title": {"text": title},
        "type": "log",
        "dtick": "D2" if narrow else 1,
        "exponentformat": "none",
        "tickformat": "~g" if not positive or max(positive) < 1e6 else "~s",
        "minor": {"showgrid": not narrow},
    }
