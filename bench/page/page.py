"""index.html: one file with everything in it, the plots' JavaScript included, readable without network."""

from pathlib import Path

from . import html, sections
from .compare import Change, comparison
from .drawing import Plot
from .plots import draw_all
from .results import Json, busy

_STYLE = Path(__file__).parent / "style.css"
# No font, icon or script comes from elsewhere; an empty icon keeps browsers from asking for one.
_HEAD = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    '<link rel="icon" href="data:,">'
)


def build(results: Json, changes: list[Change] | None = None) -> str:
    """ImportError when plotly is not installed, which only this needs."""
    from plotly.offline import get_plotlyjs

    drawn = draw_all(results)
    parts = [
        _intro(results),
        _section("targets", "Targets", sections.targets(results)),
        _section("missed", "Targets missed, and why", sections.targets_missed(results)),
        _section("ahead", "Where a peer is ahead", sections.peers_ahead(results)),
        _section("changes", "Against an earlier run", comparison(changes)) if changes is not None else "",
        *(_section(plot.name, plot.title, _plot(plot)) for plot in drawn),
        _section("elsewhere", "On another Python", sections.elsewhere(results)) if results["also"] else "",
        _section("machine", "The machine", sections.machine(results)),
        _section("missing", "Missing competitors", sections.absent(results)),
        _section("reproduce", "How to reproduce this", sections.reproduce(results)),
        _section("limits", "What it does not show", html.items(sections.NOT_SHOWN)),
        _section("python", "Every table, from Python", html.folded("show", sections.python_tables(results))),
        _section("native", "Every table, native", html.folded("show", sections.native_tables(results))),
    ]
    return (
        f"<!doctype html><html lang='en'><head>{_HEAD}<title>loomy: benchmarks</title>"
        f"<style>{_STYLE.read_text()}</style><script>{get_plotlyjs()}</script></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _intro(results: Json) -> str:
    facts = results["machine"]
    return (
        "<h1>loomy, measured beside other thread pools</h1><p>"
        + html.text(
            f"{facts.get('date', '')}, commit {facts.get('commit', '')}, {facts.get('CPU', '')}, "
            f"{facts.get('Python', '')}. Every figure is the median of interleaved rounds in "
            f"{results.get('passes', 1)} passes over everything, in a process of its own, with its answers "
            "checked; bars show the lowest and the highest round. "
            f"loomy is red in every plot.{busy(results).replace(' It ', ' The machine ', 1)}"
        )
        + "</p>"
    )


def _section(name: str, title: str, inside: str) -> str:
    return f'<section id="{name}"><h2>{html.text(title)}</h2>{inside}</section>'


def _plot(plot: Plot) -> str:
    if plot.figure is None:
        return f'<p class="absent">Not drawn: {html.text(plot.absent)}.</p>'
    drawn: str = plot.figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"plot-{plot.name}",
        config={"displayModeBar": False, "responsive": True},
    )
    return f'{drawn}<p class="sees">{html.text(plot.sees)}</p>'
