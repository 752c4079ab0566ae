"""A worker pool with native dispatch: Python callables run on worker threads in under a microsecond a job.

This file only re-exports. A module imports nothing that stands below it here:

    errors, hooks, worker, stats, batch    plain Python
    _loomy                                 the core; imports errors, and later what it calls back into
    context                                names from the core
    _threads, _asyncio_bridge              what the core calls back into
    _options                               the options of a pool, checked
    pool                                   the pool
    _futures, executor                     the standard library's executor interface over the same core
    aio                                    for asyncio; reached as loomy.aio
    _shared_pool, _default_pool            the one that is shared
    _c_signature, _elf                     reading C types, and shared libraries
    _kernel_sources, kernels               native functions as kernels
    _ufunc                                 imported by `ufunc` at its first use, for it needs NumPy
    _build_paths                           where the headers are
    _host_api                              what other native extensions import
"""

from loomy import _host_api as _host_api  # PyCapsule_Import looks for attributes, not for modules
from loomy import _threads as _threads  # gives the core its checkpoint function
from loomy import aio as aio
from loomy._build_paths import get_cmake_dir, get_include
from loomy._default_pool import default_pool
from loomy._loomy import AsyncResult, MapIterator, __version__, build_info, ufunc, usable_cpus
from loomy.batch import BatchResult
from loomy.context import CancelHandle, Context, check_cancelled, current_context, current_worker_id
from loomy.errors import (
    DeadlineExceeded,
    JobCancelled,
    JobNotCallable,
    JobTimedOut,
    LoomyError,
    PoolFull,
    PoolNotRunning,
    WorkerClosed,
    WorkerPanic,
)
from loomy.executor import Executor, Future
from loomy.hooks import Hooks
from loomy.kernels import Kernel, KernelLibrary, kernel, load_kernels
from loomy.pool import CallbackPool, Pool
from loomy.stats import Histogram, PoolStats
from loomy.worker import Worker

__all__ = (
    "AsyncResult",
    "BatchResult",
    "CallbackPool",
    "CancelHandle",
    "Context",
    "DeadlineExceeded",
    "Executor",
    "Future",
    "Histogram",
    "Hooks",
    "JobCancelled",
    "JobNotCallable",
    "JobTimedOut",
    "Kernel",
    "KernelLibrary",
    "LoomyError",
    "MapIterator",
    "Pool",
    "PoolFull",
    "PoolNotRunning",
    "PoolStats",
    "Worker",
    "WorkerClosed",
    "WorkerPanic",
    "__version__",
    "build_info",
    "check_cancelled",
    "current_context",
    "current_worker_id",
    "default_pool",
    "get_cmake_dir",
    "get_include",
    "kernel",
    "load_kernels",
    "ufunc",
    "usable_cpus",
)
