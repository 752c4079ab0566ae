"""The README's table of costs, made from results.json: the file and the README agree, which a test checks."""

from pathlib import Path

from python.report import number

from .results import Figure, Json, busy, measured, tables

BEGIN = "<!-- costs: made from bench/results.json by `python bench/run.py --readme bench/results.json` -->"
END = "<!-- end of costs -->"

_SYSTEMS = {
    "loomy": "loomy",
    "stdlib": "`ThreadPoolExecutor`",
    "mp": "`multiprocessing.pool.ThreadPool`",
    "sequential": "no pool at all",
}
_LINES = (
    ("p1", "call and wait, `process(x)`; the caller may run it (P1)"),
    ("p2", "call and wait, always on a worker's thread (P2)"),
    ("p3", "submit 100,000, then collect (P3)"),
    ("p4", "a batch of 200,000 (P4)"),
    ("p5", "a lazy map over a generator (P5)"),
    ("p7", "awaited one by one in an asyncio loop (P7)"),
    ("p8", "1,000 no-ops on 8 threads, pool made and closed (P8), a task"),
)
_TASKS_OF_P8 = 1000


def block(results: Json) -> str:
    """What stands between the markers."""
    facts = results["machine"]
    said = [
        f"Medians of {results['rounds']} interleaved rounds in one run on {facts['CPU']}, "
        f"{facts['Python']} (commit {facts['commit']}, {facts['date']}). "
        f"Absolute times are that machine's; the ratios are what to compare.{busy(results)}",
        "",
        "| one no-op job, microseconds | " + " | ".join(_SYSTEMS.values()) + " |",
        "|---|" + "---:|" * len(_SYSTEMS),
        *(_line(results, scenario, words) for scenario, words in _LINES if tables(results, scenario)),
        "",
        _sentences(results),
    ]
    return "\n".join(said)


def write(readme: Path, results: Json) -> None:
    """ValueError when the README has no place for it."""
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{readme} has no line {BEGIN!r} with a line {END!r} after it")
    head, rest = text.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    readme.write_text(f"{head}{BEGIN}\n{block(results)}\n{END}{tail}", encoding="utf-8")


def _line(results: Json, scenario: str, words: str) -> str:
    by_system = {each.competitor: each for each in reversed(measured(tables(results, scenario)[0]))}
    cells = [_cell(by_system.get(system), scenario) for system in _SYSTEMS]
    return f"| {words} | " + " | ".join(cells) + " |"


def _cell(figure: Figure | None, scenario: str) -> str:
    if figure is None:
        return ""
    microseconds = figure.median * 1e3 / _TASKS_OF_P8 if scenario == "p8" else figure.median
    return number(microseconds)


def _sentences(results: Json) -> str:
    said = []
    if blocks := _figures(results, "p9"):
        said.append(
            f"SHA-256 of 64 KiB blocks on two workers is {_times(blocks, 'sequential')} times as fast as on "
            f"none, {_times(blocks, 'stdlib')} times as fast as with `ThreadPoolExecutor` (P9)."
        )
    if (waiting := _figures(results, "p12")) and "loomy async" in waiting:
        said.append(f"A queued job takes {number(waiting['loomy async'].median)} bytes (P12).")
    if (idle := _figures(results, "p11")) and "loomy" in idle:
        alone = f", a process without any {number(idle['sequential'].median)}" if "sequential" in idle else ""
        said.append(
            f"A process with eight idle workers used {number(idle['loomy'].median)} ms of CPU in 5 s"
            f"{alone} (P11)."
        )
    if (starved := _figures(results, "p13")) and "loomy" in starved:
        said.append(
            "Beside five million C calls in a batch another Python thread is never kept waiting longer than "
            f"{number(starved['loomy'].high)} ms (P13)."
        )
    return "\n".join(said)


def _figures(results: Json, scenario: str) -> dict[str, Figure]:
    found = tables(results, scenario)
    return {each.label: each for each in measured(found[0])} if found else {}


def _times(figures: dict[str, Figure], than: str) -> str:
    return number(figures[than].median / figures["loomy"].median)
