"""All plots of the page, in its order."""

from .drawing import Draw, Plot
from .plot_curves import idle_workers, latency, queue_depth
from .plot_kernels import kernels, ufuncs
from .plot_overhead import grid, overhead
from .plot_scaling import scaling
from .results import Json

PLOTS: tuple[Draw, ...] = (overhead, grid, idle_workers, queue_depth, latency, scaling, kernels, ufuncs)


def draw_all(results: Json) -> list[Plot]:
    return [draw(results) for draw in PLOTS]
