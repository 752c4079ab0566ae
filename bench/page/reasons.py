"""Why targets were missed: what bench/README.md says of each, by its number and words of its table."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .results import Json
from .targets import Part, others, outcomes

README = Path(__file__).parent.parent / "README.md"
_HEADING = "## Targets missed, and why\n"
_ITEM = re.compile(r"^\* \*\*([\w-]+)((?: `[^`]+`)*)\*\*: (.+(?:\n  .+)*)", re.MULTILINE)


@dataclass(frozen=True)
class Missed:
    number: str
    """P1 to C4; of a bound beyond those, the scenario."""
    part: Part
    why: str
    """Empty if the README does not say."""


@dataclass(frozen=True)
class _Reason:
    number: str
    words: list[str]
    """All of them are in what it is about."""
    why: str

    def covers(self, number: str, part: Part) -> bool:
        said = f"{part.of} | {part.text}"
        return number == self.number and all(word in said for word in self.words)


def missed(results: Json, readme: str) -> list[Missed]:
    """Every target that the run misses, in the order of their numbers."""
    reasons = list(_reasons(readme))
    found = []
    for outcome in [*outcomes(results), others(results)]:
        for part in outcome.parts:
            if part.met is False:
                number = outcome.number if outcome.number != "beyond" else part.of.split(":")[0]
                why = next((reason.why for reason in reasons if reason.covers(number, part)), "")
                found.append(Missed(number, part, why))
    return found


def _reasons(readme: str) -> Iterator[_Reason]:
    """`* **P8 `100 us`**: because ...` for each, in the section of that heading."""
    section = readme.partition(_HEADING)[2].partition("\n## ")[0]
    for number, words, why in _ITEM.findall(section):
        yield _Reason(number, re.findall(r"`([^`]+)`", words), " ".join(why.split()))
