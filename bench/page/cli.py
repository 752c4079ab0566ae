"""The command line of a whole run: ``python bench/run.py --all --report FOLDER`` and what belongs to it."""

import argparse
import json
import sys
from pathlib import Path

from cpp.build import ROOT

from .compare import changes, summary
from .passes import PASSES, ROUNDS
from .results import Json, read

_RECORDED = ROOT / "bench" / "results.json"
OPTIONS = ("--all", "--page", "--readme")
"""Any of them as the first argument means this command line."""


def main(arguments: list[str]) -> int:
    given = _parser().parse_args(arguments)
    if given.readme:
        from .readme import write

        write(ROOT / "README.md", read(given.readme))
        return 0
    if not given.report:
        _parser().error("--report FOLDER is needed: where results.json and index.html go")
    given.report.mkdir(parents=True, exist_ok=True)
    earlier = read(given.compare) if given.compare else None
    also = [json.loads(file.read_text()) for file in given.also]
    code = 0
    if given.page:
        results = read(given.page)
    else:
        results, code = _measured(given)
    results["also"] += also
    (given.report / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    return max(code, _write_page(given.report / "index.html", results, earlier))


def _measured(given: argparse.Namespace) -> tuple[Json, int]:
    from .measure import measure
    from .timing import Expectation

    expectation = Expectation(read(_RECORDED) if _RECORDED.exists() else None)
    native = not given.no_native
    return measure(given.rounds, given.passes, given.quick, native, given.free_threaded, expectation)


def _write_page(file: Path, results: Json, earlier: Json | None) -> int:
    found = changes(earlier, results) if earlier else None
    if found is not None:
        print(summary(found))
    try:
        from .page import build

        file.write_text(build(results, found))
    except ImportError as missing:
        print(f"no page: {missing}; pip install '.[bench]'. The figures are kept.", file=sys.stderr)
        return 1
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB, readable without network")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench/run.py", description="A whole run and its page; see bench/README.md."
    )
    option = parser.add_argument
    option("--all", action="store_true", help="measure all workloads, from Python and native")
    option("--page", type=Path, metavar="RESULTS", help="measure nothing: make the page of this results.json")
    option("--report", type=Path, metavar="FOLDER", help="where results.json and index.html go")
    option("--rounds", type=int, help=f"rounds per row, instead of {ROUNDS} and fewer where they are long")
    option(
        "--passes",
        type=int,
        default=PASSES,
        help="over everything, the rounds shared out (default: %(default)s)",
    )
    option("--quick", action="store_true", help="smaller rounds: a look, not a result")
    option("--no-native", action="store_true", help="leave out the native benchmarks")
    option(
        "--also", type=Path, action="append", default=[], metavar="FILE", help="add a run of another Python"
    )
    option("--free-threaded", type=Path, metavar="PYTHON", help="measure P1 to P4 and P15 on it as well")
    option("--compare", type=Path, metavar="RESULTS", help="say what changed since this results.json")
    option(
        "--readme", type=Path, metavar="RESULTS", help="only write the README's table from this results.json"
    )
    return parser
