"""One row of a table, in a process of its own: ``python -m python.child SCENARIO COMPETITOR CASE``.

Reads one word a line from stdin ("round", "close") and answers each with one line of JSON on stdout. Between
rounds it blocks in that read, so the rows of a table take turns while each is warmed up only once.
"""

import faulthandler
import json
import os
import sys
from dataclasses import asdict
from typing import Any

from .competitors import make
from .workloads import SCENARIOS


def main(scenario: str, competitor_name: str, case: str) -> None:
    # Whatever a competitor prints goes to stderr; only answers go to the pipe.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    faulthandler.enable()

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    competitor = make(competitor_name)
    with SCENARIOS[scenario].prepare(competitor, json.loads(case)) as measure:
        answer({"ready": True})
        while sys.stdin.readline().strip() == "round":
            answer(asdict(measure()))
    answer({"closed": True})


if __name__ == "__main__":
    main(*sys.argv[1:])
