"""Getting all workers of a pool started, whatever the pool's own idea of when to start them."""

from ..competitors import Competitor
from ..jobs import Meeting


def start_all_workers(competitor: Competitor) -> None:
    """Run one job on each worker at the same time. The pool's function must be `jobs.identity_or_errand`."""
    size = competitor.size
    if not competitor.submits:
        competitor.map([Meeting(size)] * size, chunksize=1)
        return
    meeting = Meeting(size + 1)
    handles = competitor.submit_all([meeting] * size)
    # The caller waits for results only once every worker is inside: if it helped, it would take one's place.
    meeting.run()
    competitor.collect(handles)
