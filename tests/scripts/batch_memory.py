"""Prints by how many KiB 50,000 payloads raise the peak memory of the process, and its threads."""

from __future__ import annotations

import resource
import threading

from _common import report

from loomy import Pool


def identity(payload: int) -> int:
    return payload


with Pool(identity, size=2, affinity="worker") as pool:
    pool.process_batch(range(1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results, _ = pool.process_batch(range(50_000))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    threads = threading.active_count()
    assert results == list(range(50_000))
report(grown=grown, threads=threads)
