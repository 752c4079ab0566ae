"""One file per workload; `SCENARIOS` is the order in which they run."""

from ..model import Scenario
from . import (
    idle_workers,
    kernels,
    p1,
    p2,
    p3,
    p4,
    p5,
    p6,
    p7,
    p8,
    p9,
    p10,
    p11,
    p12,
    p13,
    p14,
    p15,
    pool_age,
    queue_depth,
    ufunc,
    wakes,
)

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (
        p1,
        p2,
        p3,
        p4,
        p5,
        p6,
        p7,
        p8,
        p9,
        p10,
        p11,
        p12,
        p13,
        p14,
        p15,
        idle_workers,
        queue_depth,
        pool_age,
        wakes,
        kernels,
        ufunc,
    )
}
