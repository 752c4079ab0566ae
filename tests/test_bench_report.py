"""The page of a benchmark run: everything is on it, and a browser draws it without a complaint."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
RECORDED = Path(__file__).parent / "benchmarks" / "results.json"
sys.path.append(str(ROOT / "bench"))  # not a package: its programs are run from there

results_of = pytest.importorskip("page.results", reason="the benchmarks are not part of this copy")
ahead = pytest.importorskip("page.ahead")
compare = pytest.importorskip("page.compare")
plots = pytest.importorskip("page.plots")
readme = pytest.importorskip("page.readme")
reasons = pytest.importorskip("page.reasons")
sections = pytest.importorskip("page.sections")
targets = pytest.importorskip("page.targets")

PLOTS = ["overhead", "grid", "workers", "depth", "latency", "scaling", "kernels", "ufuncs"]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

MARK = re.compile(r'<path class="(?:point|js-line)"[^>]* d="M|<g class="point"><path [^>]*d="M')
"""A dot, a line or a bar with an outline, as plotly draws them."""


@pytest.fixture
def results() -> dict[str, Any]:
    recorded: dict[str, Any] = results_of.read(RECORDED)
    return recorded


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by the command, as a user makes it."""
    pytest.importorskip("plotly", reason="plotly, of the extra bench, draws the page")
    folder = tmp_path_factory.mktemp("report")
    command = [
        sys.executable,
        str(ROOT / "bench" / "run.py"),
        "--page",
        str(RECORDED),
        "--report",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert results_of.read(folder / "results.json") == results_of.read(RECORDED)
    return folder / "index.html"


class Outline(HTMLParser):
    """Headings, the text of the page, and whatever it would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.loads: list[str] = []
        self.words: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        given = dict(attrs)
        self.loads += [str(given[name]) for name in ("src", "href") if name in given]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            return
        self.words.append(data)
        if self._inside == "h2":
            self.headings.append(data)


def test_the_page_has_every_part_and_loads_nothing(page: Path) -> None:
    outline = Outline()
    outline.feed(page.read_text())
    assert {"Targets", "The machine", "Missing competitors", "How to reproduce this"} <= set(outline.headings)
    assert "What it does not show" in outline.headings
    assert outline.loads == ["data:,"]  # an icon that is nothing
    words = "".join(outline.words)
    assert "openmp: not installed" in words
    assert "python bench/run.py --all --report out/" in words


def test_every_plot_is_drawn_or_says_why_not(results: dict[str, Any]) -> None:
    pytest.importorskip("plotly", reason="plotly, of the extra bench, draws the page")
    drawn = plots.draw_all(results)
    assert [plot.name for plot in drawn] == PLOTS
    for plot in drawn:
        assert plot.figure is not None, plot.absent
        assert sum(len(trace.x) for trace in plot.figure.data) > 2, plot.name
        assert plot.sees.endswith("."), plot.name
    for plot in plots.draw_all({**results, "tables": [], "native": [], "also": []}):
        assert plot.figure is None
        assert "not measured" in plot.absent or "was measured" in plot.absent


def test_the_scaling_plot_says_which_build_it_lacks(results: dict[str, Any]) -> None:
    pytest.importorskip("plotly", reason="plotly, of the extra bench, draws the page")
    named = dict(zip(PLOTS, plots.draw_all(results), strict=True))
    assert "Nothing of" not in named["scaling"].sees
    assert any("free-threaded" in trace.name for trace in named["scaling"].figure.data)
    alone = dict(zip(PLOTS, plots.draw_all({**results, "also": []}), strict=True))
    assert "Nothing of a free-threaded build is shown" in alone["scaling"].sees


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
@pytest.mark.timeout(120)
def test_a_browser_draws_every_plot_without_a_complaint(page: Path, tmp_path: Path) -> None:
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom", page.as_uri()]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if ":CONSOLE" in line] == []
    for name in PLOTS:
        assert len(MARK.findall(_drawn(done.stdout, name))) > 2, name


def _drawn(dom: str, name: str) -> str:
    """What the browser made of the section of a plot."""
    (section,) = re.findall(rf'<section id="{name}">(.*?)</section>', dom, re.DOTALL)
    layers = str(section).split('class="infolayer"')
    assert len(layers) > 1, name
    return layers[0]  # the legend comes after that, and shows dots and lines of its own


def test_what_is_not_a_whole_run_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"machine": {}, "tables": []}))
    with pytest.raises(ValueError, match="measure again"):
        results_of.read(other)


def _rounds(results: dict[str, Any], factor: float) -> dict[str, Any]:
    """The same run with three rounds of loomy's in P1, which differ by 6 %, in one pass."""
    changed = copy.deepcopy(results) | {"passes": 1}
    (table,) = (table for table in changed["tables"] if table["scenario"] == "p1")
    for row in table["rows"]:
        if row["row"]["competitor"] == "loomy":
            one = row["samples"][0]
            row["samples"] = [{**one, "value": one["value"] * factor * round} for round in (1.03, 0.97, 1.0)]
    return changed


@pytest.mark.parametrize(
    ("factor", "word"),
    [(1.0, "within the noise"), (1.05, "within the noise"), (1.2, "slower"), (0.8, "faster")],
)
def test_a_change_counts_only_beyond_the_spread_of_both(
    results: dict[str, Any], factor: float, word: str
) -> None:
    found = compare.changes(_rounds(results, 1.0), _rounds(results, factor))
    (ours,) = (change for change in found if change.where.startswith("P1:") and change.system == "loomy")
    assert ours.word == word
    assert {change.word for change in found if change is not ours} == {"within the noise"}
    assert f"{len(found) - (word != 'within the noise')} of {len(found)} rows" in compare.summary(found)


def test_a_slow_hour_of_the_machine_is_no_change(results: dict[str, Any]) -> None:
    slow = copy.deepcopy(results)
    for table in slow["tables"]:
        for row in table["rows"]:
            for sample in row["samples"]:
                sample["value"] *= 1.4
    for row in slow["native"]:
        if "median_ns" in row:
            row["median_ns"] *= 1.4
            row["spread"] = [1.4 * bound for bound in row["spread"]]
            row["rounds"] = [1.4 * round for round in row["rounds"]]
    found = compare.changes(results, slow)
    assert {change.word for change in found} == {"within the noise"}
    assert "1.40 x as long as before" in compare.summary(found)


def test_each_number_of_the_specification_has_an_outcome(results: dict[str, Any]) -> None:
    by_number = {outcome.number: outcome for outcome in targets.outcomes(results)}
    assert list(by_number) == list(targets.NUMBERS)
    assert by_number["P11"].met is True
    assert by_number["P14"].met is None  # not in the record
    missed = copy.deepcopy(results)
    for table in missed["tables"]:
        for target in table["targets"]:
            target["met"] = False
    again = {outcome.number: outcome for outcome in targets.outcomes(missed)}
    assert again["P11"].met is False
    assert again["P11"].word.startswith("missed in ")


@pytest.mark.parametrize(("bound", "why"), [("stdlib / loomy >= 60", "the GIL"), ("something else", "")])
def test_a_missed_target_has_the_reason_that_the_readme_gives(bound: str, why: str) -> None:
    said = "## Targets missed, and why\n\n* **P3 `>= 60`**: the\n  GIL\n* **P4**: another\n\n## Dead ends\n"
    target = {"text": f"target: {bound}: 42.3, MISSED", "met": False}
    results = {"tables": [{"scenario": "p3", "title": "P3: submit", "targets": [target]}]}
    (found,) = reasons.missed({**results, "native": [], "also": []}, said)
    assert (found.number, found.why) == ("P3", why)


def test_the_readme_of_the_benchmarks_has_a_reason_for_every_target_that_the_record_misses() -> None:
    recorded = results_of.read(ROOT / "bench" / "results.json")
    found = reasons.missed(recorded, reasons.README.read_text(encoding="utf-8"))
    assert [f"{each.number}: {each.part.of}: {each.part.text}" for each in found if not each.why] == []


def on_free_threaded(results: dict[str, Any], *scenarios: str) -> dict[str, Any]:
    """The same run, as if another Python had said the same of these scenarios."""
    machine = {**results["machine"], "Python": "CPython 3.13.5, free-threaded, switch interval 5 ms"}
    found = copy.deepcopy([table for table in results["tables"] if table["scenario"] in scenarios])
    return {**results, "also": [{"machine": machine, "tables": found, "seconds": 90}]}


def test_the_ratios_of_a_free_threaded_python_belong_to_p15(results: dict[str, Any]) -> None:
    def by_number(of: dict[str, Any]) -> dict[str, Any]:
        return {outcome.number: outcome for outcome in targets.outcomes(of)}

    of_both = on_free_threaded(results, "p1", "p4")
    before, after = by_number({**results, "also": []}), by_number(of_both)
    added = after["P15"].parts[len(before["P15"].parts) :]
    assert [(part.of.split(":")[0], part.text.split(":")[1].strip()) for part in added] == [
        ("P1", "stdlib / loomy >= 150"),
        ("P4", "loomy / mp <= 1"),
        ("P4", "loomy / stdlib <= 1"),
    ]
    assert all(part.of.endswith(" on CPython 3.13.5, free-threaded") for part in added)
    assert after["P1"].parts == before["P1"].parts
    for table in of_both["also"][0]["tables"]:
        for target in table["targets"]:
            target["met"] = False
    assert by_number(of_both)["P15"].met is False


def test_the_page_shows_what_another_python_says(results: dict[str, Any]) -> None:
    said = sections.elsewhere(on_free_threaded(results, "p1", "p4"))
    assert "every table of CPython 3.13.5, free-threaded" in said
    assert said.count("P1: process(x), one caller, affinity any") == 3  # both builds, and its own table
    assert "90 s for CPython 3.13.5, free-threaded" in sections.machine(on_free_threaded(results, "p1"))


def test_a_peer_that_takes_less_is_named(results: dict[str, Any]) -> None:
    where = {(each.peer.label, each.of.split(":")[0]) for each in ahead.ahead(results)}
    assert ("dask", "P4") in where
    assert not any(system in ("sequential", "generator alone", "one thread") for system, _ in where)
    slowed = ahead.ahead(_rounds(results, 1e6))
    assert {"stdlib", "mp", "tbb4py"} <= {each.peer.label for each in slowed if each.of.startswith("P1:")}
    assert all(each.sure for each in slowed if each.of.startswith("P1:"))


def _costs() -> Iterator[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    yield from re.findall(
        rf"^{re.escape(readme.BEGIN)}\n(.*?)\n{re.escape(readme.END)}$", text, re.MULTILINE | re.DOTALL
    )


def test_the_readme_has_the_costs_of_the_recorded_run() -> None:
    (costs,) = _costs()
    made = readme.block(results_of.read(ROOT / "bench" / "results.json"))
    assert costs == made, "run `python bench/run.py --readme bench/results.json`"
