"""Where a peer takes less than loomy: from Python, table by table."""

from dataclasses import dataclass

from .results import Figure, Json, measured

OURS = ("loomy", "executor", "loomy-c", "loomy-numba")
_NO_POOL = ("sequential", "c")
"""What has no threads to hand work to is the floor, not a peer."""


@dataclass(frozen=True)
class Ahead:
    of: str
    peer: Figure
    ours: Figure

    @property
    def sure(self) -> bool:
        """Every round of the peer took less than every one of loomy's."""
        return self.peer.high < self.ours.low


def ahead(results: Json) -> list[Ahead]:
    """The clearest first. loomy's row is its best in that table, where it has several."""
    found = []
    for table in results["tables"]:
        figures = measured(table)
        ours = min(
            (each for each in figures if each.competitor in OURS), key=lambda each: each.median, default=None
        )
        peers = [each for each in figures if each.competitor not in (*OURS, *_NO_POOL)]
        found += [Ahead(table["title"], peer, ours) for peer in peers if ours and peer.median < ours.median]
    return sorted(found, key=lambda each: (not each.sure, each.peer.median / each.ours.median))
