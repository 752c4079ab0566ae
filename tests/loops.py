"""The kinds of event loop that the asyncio tests run in."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest
from helpers import WAIT

T = TypeVar("T")

Run = Callable[[Coroutine[Any, Any, T]], T]


def plain(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)


def debug(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main, debug=True)


def python_tasks(main: Coroutine[Any, Any, T]) -> T:
    """With the Task class that is written in Python."""

    async def nested() -> T:
        loop = asyncio.get_running_loop()
        made: Any = asyncio.tasks._PyTask  # type: ignore[attr-defined]
        loop.set_task_factory(lambda loop, coro, **options: made(coro, loop=loop, **options))
        return await loop.create_task(main)

    return asyncio.run(nested())


def eager_tasks(main: Coroutine[Any, Any, T]) -> T:
    """Tasks begin to run inside the step of the task that makes them."""

    async def nested() -> T:
        if sys.version_info >= (3, 12):
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        return await main

    return asyncio.run(nested())


def uvloop_tasks(main: Coroutine[Any, Any, T]) -> T:
    uvloop = importlib.import_module("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def without_attributes(main: Coroutine[Any, Any, T]) -> T:
    """A loop that takes no attributes of ours."""

    class Sealed(asyncio.SelectorEventLoop):
        def __setattr__(self, name: str, value: object) -> None:
            if name.startswith("_loomy"):
                raise AttributeError(name)
            super().__setattr__(name, value)

    with asyncio.Runner(loop_factory=Sealed) as runner:
        return runner.run(main)


KINDS = [
    plain,
    debug,
    python_tasks,
    pytest.param(
        eager_tasks, marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are of 3.12")
    ),
    pytest.param(
        uvloop_tasks,
        marks=pytest.mark.skipif(
            importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed"
        ),
    ),
    without_attributes,
]
in_every_loop = pytest.mark.parametrize("run", KINDS)


async def soon(condition: Callable[[], bool]) -> None:
    """Polls while the loop runs."""
    async with asyncio.timeout(WAIT):
        while not condition():
            await asyncio.sleep(0.001)


async def as_coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable
