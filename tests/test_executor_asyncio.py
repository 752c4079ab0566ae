"""`loomy.Executor` as an event loop's default executor, and behind `run_in_executor`."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import threading
import time
from concurrent.futures import CancelledError
from typing import Any

import pytest
from helpers import WAIT, Gate, double, one_busy_worker, raise_it
from loops import Run, in_every_loop
from test_aio import output_of

import loomy
import loomy.aio
from loomy import Executor

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def thread_name() -> str:
    return threading.current_thread().name


def test_run_in_executor_runs_on_its_workers() -> None:
    async def main() -> str:
        with loomy.Executor(1, "offloaded") as executor:
            return await asyncio.get_running_loop().run_in_executor(executor, thread_name)

    assert asyncio.run(main()) == "offloaded_0"


def test_it_is_accepted_as_the_default_executor_and_everything_goes_through_it() -> None:
    executor = loomy.Executor(2, "default")

    async def main() -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(executor)
        before = executor.stats().submitted
        assert await loop.getaddrinfo("127.0.0.1", 80)
        assert executor.stats().submitted == before + 1
        return await asyncio.to_thread(thread_name), await loop.run_in_executor(None, thread_name)

    first, second = asyncio.run(main())
    assert first.startswith("default_")
    assert second.startswith("default_")
    # asyncio.run has shut it down.
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(int)


def test_installed_by_name() -> None:
    async def main() -> tuple[str, loomy.Executor]:
        executor = loomy.aio.install()
        return await asyncio.to_thread(thread_name), executor

    name, executor = asyncio.run(main())
    assert name == "asyncio_0"
    assert isinstance(executor, loomy.Executor)


def test_asyncio_run_ends_cleanly_with_jobs_in_flight() -> None:
    """Shut down with what was submitted done, and nobody has anything to say, to stderr or to a hook."""
    program = """
import asyncio, threading, loomy.aio
started, release = threading.Event(), threading.Event()
def job():
    started.set()
    print(release.wait(20))
async def main():
    loop = asyncio.get_running_loop()
    loomy.aio.install(loop)
    loop.run_in_executor(None, job)
    while not started.is_set():
        await asyncio.sleep(0)
    loop.call_soon(release.set)
asyncio.run(main())
print(threading.active_count())
"""
    assert output_of(program) == "True\n1\n"


def test_cancelling_the_awaiting_task_cancels_a_queued_job() -> None:
    release = threading.Event()
    ran: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with loomy.Executor(1) as executor:
            running = loop.run_in_executor(executor, release.wait)
            task = asyncio.ensure_future(loop.run_in_executor(executor, ran.append, 1))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)  # asyncio passes the cancellation on in the next turn
            release.set()
            await running

    asyncio.run(main())
    assert ran == []


def test_cancelling_the_awaiting_task_reaches_the_context_of_a_running_job() -> None:
    started = threading.Event()
    seen: list[bool] = []

    def job() -> None:
        context = loomy.current_context()
        assert context is not None
        started.set()
        seen.append(context.wait(10))

    async def main() -> None:
        with loomy.Executor(1) as executor:
            waiting = asyncio.get_running_loop().run_in_executor(executor, job)
            while not started.is_set():
                await asyncio.sleep(0.001)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await asyncio.sleep(0)  # asyncio passes the cancellation on in the next turn

    asyncio.run(main())
    assert seen == [True]


def test_contextvars_are_copied_at_submit() -> None:
    async def main() -> str:
        variable.set("of the task")
        with loomy.Executor(1) as executor:
            future = asyncio.get_running_loop().run_in_executor(executor, variable.get)
            variable.set("changed")
            return await future

    assert asyncio.run(main()) == "of the task"


def test_many_jobs_gathered_lose_nothing() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        with loomy.Executor(4) as executor:
            return await asyncio.gather(*[loop.run_in_executor(executor, abs, -i) for i in range(5_000)])

    assert asyncio.run(main()) == list(range(5_000))


def test_addresses_are_looked_up_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    look_up = socket.getaddrinfo

    def noting(*args: Any, **kwargs: Any) -> Any:
        names.append(thread_name())
        return look_up(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", noting)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Executor(1, "ours"))
        assert await loop.getaddrinfo("127.0.0.1", 80)

    asyncio.run(main())
    assert names == ["ours_0"]


@in_every_loop
def test_the_loop_ends_its_default_executor(run: Run[Executor]) -> None:
    slept = threading.Event()

    def sleep() -> None:
        time.sleep(0.05)
        slept.set()

    async def main() -> Executor:
        executor = Executor(2)
        loop = asyncio.get_running_loop()
        loop.set_default_executor(executor)
        executor.submit(sleep)
        await asyncio.to_thread(double, 4)
        return executor

    executor = run(main())
    assert slept.is_set()
    assert executor._shutdown
    assert not any(thread.is_alive() for thread in executor._threads)


@in_every_loop
def test_run_in_executor_gives_results_and_errors(run: Run[None]) -> None:
    async def main(executor: Executor) -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(executor, double, 4) == 8
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(executor, divmod, 1, 0)
        calls = [loop.run_in_executor(executor, double, i) for i in range(500)]
        assert await asyncio.gather(*calls) == [2 * i for i in range(500)]

    with Executor(4) as executor:
        run(main(executor))


@in_every_loop
def test_a_future_that_is_cancelled_cancels_its_wrapper(run: Run[None]) -> None:
    async def main(executor: Executor) -> None:
        future = executor.submit(double, 4)
        wrapped = asyncio.wrap_future(future)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(wrapped, WAIT)
        with pytest.raises(CancelledError):
            future.result(0)

    with one_busy_worker() as (executor, _):
        run(main(executor))


@in_every_loop
def test_31_a_stop_iteration_reaches_the_awaiter(run: Run[None]) -> None:
    """As a RuntimeError, as from a generator. asyncio before 3.12.4 drops it, and its awaiter never wakes."""

    async def main(executor: Executor) -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(RuntimeError) as caught:
            await asyncio.wait_for(loop.run_in_executor(executor, raise_it, StopIteration(7)), 5)
        assert isinstance(caught.value.__cause__, StopIteration)

    with Executor(1) as executor:
        run(main(executor))


def test_a_task_that_gives_up_leaves_the_executor_working() -> None:
    async def main(executor: Executor, gate: Gate) -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.run_in_executor(executor, gate.block, 1), 0.02)
        gate.open()
        assert await loop.run_in_executor(executor, double, 4) == 8

    with Executor(1) as executor, Gate() as gate:
        asyncio.run(main(executor, gate))
