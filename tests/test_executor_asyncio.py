"""`loomy.Executor` as an event loop's default executor, and behind `run_in_executor`."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import warnings

import pytest

import loomy
import loomy.aio

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
    release = threading.Event()
    ended: list[bool] = []

    def job() -> None:
        ended.append(release.wait(10))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loomy.aio.install(loop)
        abandoned = loop.run_in_executor(None, job)
        while not loop_has_started(abandoned):
            await asyncio.sleep(0)
        loop.call_soon(release.set)

    def loop_has_started(_: object) -> bool:
        return any(thread.name.startswith("asyncio_") for thread in threading.enumerate())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
    assert ended == [True]  # shut down with what was submitted done


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
