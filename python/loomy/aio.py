"""For asyncio: `await loomy.aio.to_thread(fn, ...)`, and `loomy.aio.install()` for a loop's default executor.

Importing it imports no asyncio and starts no thread.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from loomy._shared_pool import SharedPool
from loomy.executor import Executor
from loomy.pool import CallbackPool

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

__all__ = ("install", "to_thread")

P = ParamSpec("P")
Out = TypeVar("Out")


# As many threads as the executor of asyncio.to_thread has at most.
_shared = SharedPool(lambda: CallbackPool(min(32, (os.cpu_count() or 1) + 4), name="loomy-aio"))


async def to_thread(fn: Callable[P, Out], /, *args: P.args, **kwargs: P.kwargs) -> Out:
    """Run `fn(*args, **kwargs)` on another thread, without blocking the event loop; return what it returns.

    As `asyncio.to_thread`, with a pool of its own that all loops of the process share and that is closed when
    the interpreter exits: `min(32, cpus + 4)` threads, each started when it is first needed. Loops that run
    inside such calls share as many threads besides. `fn` runs in a copy of the caller's contextvars context.
    When the awaiting task is cancelled before `fn` has started, it never runs; if it runs already,
    `loomy.check_cancelled()` in it raises, as its `loomy.current_context()` is cancelled.

    Raises what `fn` raises, but `RuntimeError` from a `StopIteration`, and `WorkerPanic` from what is not an
    `Exception`.
    """
    return await _shared.beside_the_caller().process_async(partial(fn, *args, **kwargs))


def install(loop: AbstractEventLoop | None = None, executor: Executor | None = None) -> Executor:
    """Make a `loomy.Executor` the default executor of an asyncio loop, and return it.

    `asyncio.to_thread`, `loop.run_in_executor(None, ...)` and `loop.getaddrinfo` go through it from then on.
    loop: the running one if not given; `RuntimeError` where none runs.
    executor: one of your own; else one is made with the sizes and names of asyncio's. The loop shuts it down
    as it would its own: `asyncio.run` does so at its end.
    """
    import asyncio

    if loop is None:
        loop = asyncio.get_running_loop()
    if executor is None:
        executor = Executor(thread_name_prefix="asyncio")
    loop.set_default_executor(executor)
    return executor
