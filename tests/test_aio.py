"""`loomy.aio.to_thread`: one call on another thread, from a pool that all loops share."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from helpers import WAIT, Background, Gate
from loops import Run, in_every_loop, soon

import loomy
import loomy.aio
from loomy.aio import _shared, to_thread


@pytest.fixture(autouse=True)
def _close_the_shared_pool() -> Iterator[None]:
    yield
    _shared.get().shutdown()


@in_every_loop
def test_arguments_go_in_and_the_result_comes_out(run: Run[None]) -> None:
    def call(first: int, /, second: str, *rest: float, keyword: bool) -> tuple[object, ...]:
        return first, second, rest, keyword, threading.current_thread().name

    async def main() -> None:
        *given, thread = await to_thread(call, 1, "two", 3.0, 4.0, keyword=True)
        assert given == [1, "two", (3.0, 4.0), True]
        assert str(thread).startswith("loomy-aio-")

    run(main())


def test_a_parameter_called_fn_is_the_functions_own() -> None:
    assert asyncio.run(to_thread(lambda **options: options, fn=1)) == {"fn": 1}


@in_every_loop
def test_the_exception_comes_out_as_itself(run: Run[None]) -> None:
    error = KeyError("mine")

    def fail() -> None:
        raise error

    async def main() -> None:
        with pytest.raises(KeyError) as caught:
            await to_thread(fail)
        assert caught.value is error

    run(main())


def test_stop_iteration_becomes_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(to_thread(next, iter(())))


def test_what_is_not_callable_is_refused() -> None:
    with pytest.raises(TypeError):
        asyncio.run(to_thread(3))  # type: ignore[arg-type]


@in_every_loop
def test_the_context_is_copied(run: Run[None]) -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    def call() -> str:
        before = variable.get()
        variable.set("by the call")
        return before

    async def main() -> None:
        variable.set("inside")
        assert await to_thread(call) == "inside"
        assert variable.get() == "inside"

    run(main())


@in_every_loop
def test_cancelling_the_task_reaches_the_context_of_the_call(run: Run[None]) -> None:
    told = threading.Event()
    started = threading.Event()

    def call() -> None:
        started.set()
        context = loomy.current_context()
        assert context is not None
        if context.wait(WAIT):
            told.set()

    async def main() -> None:
        task = asyncio.create_task(to_thread(call))
        await soon(started.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await soon(told.is_set)

    run(main())


def test_a_call_that_has_not_started_when_it_is_cancelled_never_does() -> None:
    ran: list[int] = []

    async def main() -> None:
        with Gate() as gate:
            size = _shared.get().size
            held = [asyncio.create_task(to_thread(gate.block, i)) for i in range(size)]
            await soon(lambda: _shared.get().running == size)
            late = asyncio.create_task(to_thread(ran.append, 1))
            await soon(lambda: _shared.get().queue_length == 1)
            late.cancel()
            with pytest.raises(asyncio.CancelledError):
                await late
            gate.open()
            assert await asyncio.gather(*held) == list(range(size))

    asyncio.run(main())
    assert ran == []


def test_as_many_threads_as_asyncio_has() -> None:
    assert _shared.get().size == min(32, (os.cpu_count() or 1) + 4)


def test_loops_in_several_threads_share_the_pool() -> None:
    async def main() -> int:
        return sum(await asyncio.gather(*(to_thread(int, i) for i in range(100))))

    threads = [Background(lambda: asyncio.run(main())) for _ in range(4)]
    assert [thread.result() for thread in threads] == [4950] * 4


def test_a_closed_pool_is_replaced() -> None:
    async def main() -> None:
        assert await to_thread(int, 1) == 1
        _shared.get().close()
        assert await to_thread(int, 2) == 2

    asyncio.run(main())


# install


@in_every_loop
def test_install_makes_an_executor_the_default_of_the_running_loop(run: Run[loomy.Executor]) -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    async def main() -> loomy.Executor:
        loop = asyncio.get_running_loop()
        executor = loomy.aio.install()
        assert isinstance(executor, loomy.Executor)
        variable.set("inside")
        assert await asyncio.to_thread(variable.get) == "inside"
        assert await loop.run_in_executor(None, threading.current_thread) in threading.enumerate()
        assert await loop.getaddrinfo("127.0.0.1", 80)
        assert await asyncio.gather(*(asyncio.to_thread(int, i) for i in range(200))) == list(range(200))
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)
        assert executor.stats().submitted >= 203  # uvloop looks up addresses by itself
        return executor

    executor = run(main())
    # asyncio.run shuts it down, and says nothing
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(int)


def test_install_has_the_threads_and_names_of_asyncios_own() -> None:
    async def main() -> tuple[int, str]:
        name = await asyncio.to_thread(lambda: threading.current_thread().name)
        executor = asyncio.get_running_loop()._default_executor  # type: ignore[attr-defined]
        return executor._max_workers, name

    async def ours() -> tuple[int, str]:
        loomy.aio.install()
        return await main()

    assert asyncio.run(ours()) == asyncio.run(main())


def test_install_on_a_loop_that_does_not_run_yet_with_an_executor_of_ones_own() -> None:
    loop = asyncio.new_event_loop()
    with loomy.Executor(1, thread_name_prefix="mine") as executor:
        assert loomy.aio.install(loop, executor) is executor
        name = loop.run_until_complete(asyncio.to_thread(lambda: threading.current_thread().name))
        assert name.startswith("mine")
    loop.close()


def test_install_where_no_loop_runs() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        loomy.aio.install()


# In a fresh interpreter


def output_of(program: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", program],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def test_importing_it_starts_nothing_and_imports_no_asyncio() -> None:
    program = """
import sys, threading, loomy.aio
print(threading.active_count(), "asyncio" in sys.modules, "numpy" in sys.modules)
"""
    assert output_of(program) == "1 False False\n"


def test_exit_with_calls_done_and_calls_that_are_running() -> None:
    program = """
import asyncio, threading, time, loomy.aio
started = threading.Event()
def call():
    started.set()
    loomy.current_context().wait(20)
async def main():
    print(await loomy.aio.to_thread(len, "abc"))
    task = asyncio.create_task(loomy.aio.to_thread(call))
    while not started.is_set():
        await asyncio.sleep(0.001)
asyncio.run(main())
"""
    assert output_of(program) == "3\n"


def test_exit_with_a_loop_that_is_left_open() -> None:
    program = """
import asyncio, warnings, loomy
warnings.simplefilter("ignore", ResourceWarning)
pool = loomy.Pool(abs, size=0)
loop = asyncio.new_event_loop()
async def main():
    result = pool.process_async(-3)
    result.add_done_callback(print)
loop.run_until_complete(main())
"""
    assert output_of(program) == ""


def test_closing_a_loop_with_everything_in_flight_says_nothing() -> None:
    program = """
import asyncio, gc, threading, time, loomy, loomy.aio
door = threading.Event()
def job(payload):
    door.wait(20)
    return payload
async def consume(results):
    async for _ in results:
        pass
async def wait_for(awaitable):
    await awaitable
async def main(pool, full):
    loop = asyncio.get_running_loop()
    loomy.aio.install()
    tasks = [
        asyncio.create_task(wait_for(what))
        for what in (
            pool.process_async(1),
            pool.process_async(1, timeout=20),
            pool.process_batch_async(range(5)),
            loomy.aio.to_thread(job, 1),
            asyncio.to_thread(door.wait, 0.05),
            consume(pool.map(range(9))),
            consume(pool.map(range(9), ordered=False)),
            consume(full.map([3])),
        )
    ]
    pool.process_async(2).add_done_callback(print)
    asyncio.gather(*[pool.process_async(i) for i in range(3)])
    await asyncio.sleep(0.05)
    return tasks
def check(end, pool, full):
    full.process_async(1), full.process_async(2)
    loop = asyncio.new_event_loop()
    tasks = loop.run_until_complete(main(pool, full))
    end(loop, tasks)
    loop.close()
def cancel(loop, tasks):
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
def leave(loop, tasks):
    loop.run_until_complete(asyncio.sleep(0))
    for task in tasks:
        task._log_destroy_pending = False  # asyncio's own warning, which is deserved
for end in (cancel, leave):
    pool = loomy.Pool(job, size=2)
    full = loomy.Pool(job, size=1, max_pending=1)
    check(end, pool, full)
    gc.collect()
    door.set()
    pool.shutdown(), full.shutdown()
    gc.collect()
    door.clear()
print("end")
"""
    assert output_of(program) == "end\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_child_of_a_fork_has_a_pool_of_its_own() -> None:
    program = """
import asyncio, os, loomy.aio
print(asyncio.run(loomy.aio.to_thread(len, "abc")), flush=True)
child = os.fork()
if child == 0:
    print(asyncio.run(loomy.aio.to_thread(len, "abcd")), flush=True)
else:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print(asyncio.run(loomy.aio.to_thread(len, "abcde")), flush=True)
"""
    assert output_of(program) == "3\n4\n5\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_child_of_a_fork_inside_a_loop_is_told_that_nothing_will_come() -> None:
    program = """
import asyncio, os, loomy
pool = loomy.Pool(abs, size=0)
async def main():
    result = pool.process_async(-3)
    await asyncio.sleep(0)
    result.add_done_callback(id)
    child = os.fork()
    if child == 0:
        try:
            asyncio._set_running_loop(None)
            asyncio.run(asyncio.wait_for(result, 20))
        except loomy.PoolNotRunning as error:
            print("parent process" in str(error), type(result.exception()).__name__, flush=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
asyncio.run(main())
pool.close()
"""
    assert output_of(program) == "True PoolNotRunning\n"
