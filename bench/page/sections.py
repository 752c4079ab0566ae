"""The parts of the page that are words and tables."""

from python.report import number

from . import html
from .ahead import OURS, ahead
from .reasons import README, missed
from .results import Figure, Json, figures, missing, native_cases, tables
from .targets import Outcome, Part, others, outcomes

NOT_SHOWN = (
    "Throughput of real programs: these are small jobs, chosen so that the pool is what costs. The longer "
    "a job, the less it matters who hands it out.",
    "Other machines: ratios carry over better than microseconds; with more CPUs or busy neighbours they "
    "change too.",
    "Memory beyond P5 and P12, start-up of the interpreter and import times.",
    "Pools of processes, which escape the GIL and pay for it with pickling.",
    "What a peer can do that loomy cannot; its notes and bench/README.md name the promises that differ.",
)


def machine(results: Json) -> str:
    facts = [*results["machine"].items()]
    facts += [("rounds", f"{results['rounds']} of a row where one is short, at least 2 where it is long")]
    facts += [("passes", f"{results.get('passes', 1)} over everything, which share the rounds")]
    facts += [("took", f"{results['seconds'] / 60:.1f} minutes in all{_shares(results)}")]
    rows = [html.row([html.cell(name), html.cell(fact, "words")]) for name, fact in facts]
    more = "".join(
        html.folded(
            f"another Python: {run['machine']['Python']}",
            html.items(f"{name}: {fact}" for name, fact in run["machine"].items()),
        )
        for run in results["also"]
    )
    return html.table(["fact", "here"], rows, "words") + more


def _shares(results: Json) -> str:
    parts = [("the native build", results.get("build seconds", 0))]
    parts += [(_python(run), run.get("seconds", 0)) for run in results["also"]]
    said = [f"{seconds} s for {what}" for what, seconds in parts if seconds]
    return f", of them {', '.join(said)}" if said else ""


def elsewhere(results: Json) -> str:
    """What P1 to P4 come to on each build, and all tables of the other ones."""
    builds = [results, *results["also"]]
    rows = []
    for scenario in ("p1", "p2", "p3", "p4"):
        for run in builds:
            for table in tables(run, scenario):
                rows.append(_beside_its_library(table, _python(run)))
    header = ["where", "Python", "unit", "loomy", "stdlib", "times", "mp", "times"]
    other = "".join(
        html.folded(f"every table of {_python(run)}", python_tables(run)) for run in results["also"]
    )
    words = "<p>Each beside the standard library of the same build: its executor, and its ThreadPool.</p>"
    return (words + html.table(header, rows, "words") if len(rows) > 1 else "") + other


def _beside_its_library(table: Json, python: str) -> str:
    medians = {each.label: each.median for each in figures(table) if each.samples and not each.missing}
    cells = [table["title"], python, table["unit"]["name"], _number(medians.get("loomy"))]
    for system in ("stdlib", "mp"):
        ratio = medians[system] / medians["loomy"] if {system, "loomy"} <= medians.keys() else None
        cells += [_number(medians.get(system)), _number(ratio)]
    return html.row([html.cell(words, "words" if at < 3 else "") for at, words in enumerate(cells)])


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)


def _python(run: Json) -> str:
    return str(run["machine"]["Python"]).rpartition(",")[0]


def absent(results: Json) -> str:
    lines = [f"{competitor}: {why}" for competitor, why in missing(results)]
    if not lines:
        return "<p>Every competitor was there, and every process came to its end with right answers.</p>"
    return html.items(lines)


def reproduce(results: Json) -> str:
    commands = "pip install '.[bench,kernels]'\n" + results["command"]
    return (
        f"<pre>{html.text(commands)}</pre><p>in a checkout of commit "
        f"<code>{html.text(results['machine'].get('commit', 'unknown'))}</code>, on a machine that nobody "
        "else uses. The peers of the native benchmarks are Debian packages; bench/README.md names them, and "
        "says what each number means and how it is measured.</p>"
    )


def targets(results: Json) -> str:
    listed = [*outcomes(results), others(results)]
    rows = [
        html.row(
            [
                html.cell(outcome.number),
                html.cell(outcome.word, _kind(outcome.met)),
                html.cell("; ".join(_said(part) for part in _first(outcome)), "words"),
            ]
        )
        for outcome in listed
    ]
    every = [
        html.row(
            [
                html.cell(outcome.number),
                html.cell(part.of, "words"),
                html.cell(part.text, "words"),
                html.cell({True: "met", False: "MISSED", None: "not measured"}[part.met], _kind(part.met)),
            ]
        )
        for outcome in listed
        for part in outcome.parts
    ]
    return html.table(
        ["number", "outcome", "missed, or the first of what was met"], rows, "words"
    ) + html.folded(
        f"all {len(every)} comparisons",
        html.table(["number", "where", "bound: figure", "outcome"], every, "words"),
    )


def targets_missed(results: Json) -> str:
    found = missed(results, README.read_text(encoding="utf-8"))
    if not found:
        return "<p>Every target that was measured is met.</p>"
    rows = [
        html.row(
            [
                html.cell(each.number),
                html.cell(each.part.of, "words"),
                html.cell(each.part.text, "words"),
                html.cell(each.why or "not known", "words"),
            ]
        )
        for each in found
    ]
    return html.table(["number", "where", "bound: figure", "why"], rows, "words")


def peers_ahead(results: Json) -> str:
    found = ahead(results)
    if not found:
        return "<p>In no table does a peer take less time, or memory, than loomy.</p>"
    rows = [
        html.row(
            [
                html.cell(each.peer.label, "words"),
                html.cell(each.of, "words"),
                html.cell(number(each.peer.median)),
                html.cell(number(each.ours.median)),
                html.cell(each.peer.of_table["unit"]["name"], "words"),
                html.cell(*("in every round", "missed") if each.sure else ("rounds overlap", "unknown")),
            ]
        )
        for each in found
    ]
    why = "<p>By their medians; what it comes from is in bench/README.md, under Where loomy is not ahead.</p>"
    return why + html.table(["peer", "where", "its", "loomy's", "unit", "how surely"], rows, "words")


def _first(outcome: Outcome) -> list[Part]:
    bad = [part for part in outcome.parts if part.met is False]
    return bad[:6] if bad else outcome.parts[:1]


def _said(part: Part) -> str:
    return f"{part.of.split(':')[0]}: {part.text}" if not part.text.startswith(part.of) else part.text


def _kind(met: bool | None) -> str:
    return {True: "met", False: "missed", None: "unknown"}[met]


def python_tables(results: Json) -> str:
    return "".join(_python_table(table) for table in results["tables"])


def _python_table(table: Json) -> str:
    listed = figures(table)
    reference = next((each for each in listed if each.label == table["reference"] and each.samples), None)
    rows = [_cells(each, reference) for each in listed]
    header = ["system", table["unit"]["name"], "lowest .. highest", f"x {table['reference']}"]
    said = html.items([*(target["text"] for target in table["targets"]), *table["notes"]])
    return f"<h3>{html.text(table['title'])}</h3>{html.table(header, rows)}{said}"


def _cells(each: Figure, reference: Figure | None) -> str:
    if each.missing:
        return html.row([html.cell(each.label), html.cell(each.missing, "unknown")])
    ratio = each.median / reference.median if reference and reference.median else None
    spread = f"{number(each.low)} .. {number(each.high)}"
    cells = [each.label, number(each.median), spread, "-" if ratio is None else number(ratio)]
    return html.row([html.cell(words) for words in cells], ours=each.competitor in OURS)


def native_tables(results: Json) -> str:
    tables = []
    for suite in dict.fromkeys(row["suite"] for row in results["native"]):
        for case, rows in native_cases(results, suite).items():
            tables.append(f"<h3>{html.text(f'{suite}: {case}')}</h3>{_native_table(rows)}")
    return "".join(tables) or '<p class="absent">The native benchmarks were not run.</p>'


def _native_table(rows: list[Json]) -> str:
    lines = []
    for row in rows:
        if "median_ns" not in row:
            words = row.get("skipped") or row.get("failure", "")
            lines.append(html.row([html.cell(row["competitor"]), html.cell(words, "unknown")]))
            continue
        low, high = row["spread"]
        cells = [row["competitor"], number(row["median_ns"]), f"{number(low)} .. {number(high)}"]
        cells += [number(row[name]) if name in row else "-" for name in ("p50", "p99")]
        lines.append(
            html.row([html.cell(words) for words in cells], ours=row["competitor"].startswith("loomy"))
        )
    return html.table(["system", "ns", "lowest .. highest", "p50", "p99"], lines)
