"""Worker threads as the rest of Python and the operating system see them."""

from __future__ import annotations

import json
import os
import pathlib
import sys
import threading
from typing import Any

import pytest
from helpers import GIL, WAIT, Gate, identity, run_program, wait_until

import loomy
from loomy import Pool


def in_fresh_interpreter(program: str) -> Any:
    """What the program prints, as JSON."""
    finished = run_program(program)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_import_starts_no_thread() -> None:
    program = "import threading, json, loomy; print(json.dumps(threading.active_count()))"
    assert in_fresh_interpreter(program) == 1


def test_threads_are_alive_and_can_be_joined_before_they_have_run() -> None:
    for _ in range(50):
        executor = loomy.Executor(4)
        list(executor.map(identity, range(20)))
        threads = executor._threads
        assert all(thread.is_alive() for thread in threads)
        executor.shutdown(wait=False)
        for thread in threads:
            thread.join(WAIT)
        assert not any(thread.is_alive() for thread in threads)


def test_join_of_a_worker_thread_ends_at_its_timeout() -> None:
    with Gate() as gate:
        executor = loomy.Executor(1)
        executor.submit(gate.block, 1)
        gate.wait_entered()
        (thread,) = executor._threads
        for timeout in (-1, 0, 0.01):
            thread.join(timeout)
            assert thread.is_alive()
        gate.open()
        executor.shutdown()
        assert not thread.is_alive()


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
def test_import_starts_no_native_thread() -> None:
    program = "import os, json, loomy; print(json.dumps(len(os.listdir('/proc/self/task'))))"
    assert in_fresh_interpreter(program) == 1


@pytest.mark.skipif(GIL, reason="needs a free-threaded build without its GIL")
def test_the_gil_stays_off() -> None:
    program = (
        "import sys, json, loomy\n"
        "with loomy.Pool(abs, size=2) as pool, loomy.Executor(2) as executor:\n"
        "    pool.process_batch(range(10)); executor.submit(abs, 1).result()\n"
        "print(json.dumps(sys._is_gil_enabled()))"
    )
    assert in_fresh_interpreter(program) is False


@pytest.mark.parametrize("module", ["numpy", "asyncio"])
def test_import_does_not_import(module: str) -> None:
    program = f"import sys, json, loomy; print(json.dumps({module!r} in sys.modules))"
    assert in_fresh_interpreter(program) is False


@pytest.mark.parametrize("module", ["numpy", "asyncio"])
def test_using_a_pool_does_not_import(module: str) -> None:
    program = (
        "import sys, json, loomy\n"
        "with loomy.Pool(abs, size=2) as pool:\n"
        "    pool.process(1); pool.process_async(1).wait(); pool.process_batch([1]); list(pool.map([1]))\n"
        f"print(json.dumps({module!r} in sys.modules))"
    )
    assert in_fresh_interpreter(program) is False


def names_of_workers(pool: Pool[int, str], size: int) -> set[str]:
    """The names of all worker threads; the pool's jobs must meet at a barrier and return the name."""
    return set(pool.process_batch(range(size)).raise_for_errors())


def name_of_thread(_: int) -> str:
    return threading.current_thread().name


def native_id_of_thread(_: int) -> int:
    return threading.get_native_id()


def naming_pool(size: int, name: str) -> Pool[int, str]:
    together = threading.Barrier(size)

    def job(_: int) -> str:
        together.wait(WAIT)
        return threading.current_thread().name

    return Pool(job, size=size, name=name, affinity="worker")


def test_threads_are_named_after_pool_and_worker() -> None:
    with naming_pool(3, "looms") as pool:
        assert names_of_workers(pool, 3) == {"looms-0", "looms-1", "looms-2"}


def test_default_name_is_loomy() -> None:
    with Pool(name_of_thread, size=1, affinity="worker") as pool:
        assert pool.process(1) == "loomy-0"
        assert pool.name == "loomy"


@pytest.mark.parametrize("name", ["", "with space", "ünïcødé", "x" * 300, "nul\0byte", "%s{}"])
def test_any_str_will_do_as_a_name(name: str) -> None:
    with Pool(name_of_thread, size=1, name=name, affinity="worker") as pool:
        assert pool.process(1) == f"{name}-0"


def test_workers_are_threads_that_enumerate_lists() -> None:
    def job(_: int) -> threading.Thread:
        return threading.current_thread()

    with Pool(job, size=1, affinity="worker") as pool:
        thread = pool.process(1)
        assert isinstance(thread, threading.Thread)
        assert not thread.daemon  # threads that a job starts inherit it; exit does not wait for the worker
        assert thread in threading.enumerate()
        assert thread.is_alive()
    wait_until(lambda: not thread.is_alive())


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
def test_operating_system_sees_the_names() -> None:
    def job(_: int) -> str:
        return pathlib.Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text().strip()

    with Pool(job, size=1, name="osname", affinity="worker") as pool:
        assert pool.process(1) == "osname-0"


def test_one_thread_runs_all_jobs_of_a_worker() -> None:
    with Pool(native_id_of_thread, size=1, affinity="worker") as pool:
        assert len({pool.process(i) for i in range(200)}) == 1


def test_thread_locals_last_from_job_to_job() -> None:
    local = threading.local()

    def job(_: int) -> int:
        local.count = getattr(local, "count", 0) + 1
        return int(local.count)

    with Pool(job, size=1, affinity="worker") as pool:
        assert [pool.process(i) for i in range(10)] == list(range(1, 11))


def test_thread_locals_are_destroyed_with_the_worker() -> None:
    gone = threading.Event()

    class Precious:
        def __del__(self) -> None:
            gone.set()

    local = threading.local()

    def job(_: int) -> None:
        local.precious = Precious()

    with Pool(job, size=1, affinity="worker") as pool:
        pool.process(1)
        assert not gone.is_set()
    assert gone.wait(WAIT)


def test_profilers_see_the_jobs() -> None:
    seen: set[str] = set()

    def profiler(frame: Any, event: str, argument: object) -> None:
        if event == "call":
            seen.add(frame.f_code.co_name)

    def profiled(payload: int) -> int:
        return payload

    threading.setprofile(profiler)
    try:
        with Pool(profiled, size=1, affinity="worker") as pool:
            pool.process(1)
    finally:
        threading.setprofile(None)
    assert "profiled" in seen


def test_tracers_see_the_jobs() -> None:
    seen: set[str] = set()

    def tracer(frame: Any, event: str, argument: object) -> Any:
        seen.add(frame.f_code.co_name)
        return tracer

    def traced(payload: int) -> int:
        return payload

    threading.settrace(tracer)
    try:
        with Pool(traced, size=1, affinity="worker") as pool:
            pool.process(1)
            pool.process_async(2).wait(WAIT)
    finally:
        threading.settrace(None)
    assert "traced" in seen


def test_current_frames_show_what_a_worker_does() -> None:
    started, door = threading.Event(), threading.Event()
    thread_ids: list[int] = []

    def stopped_here(_: int) -> None:
        thread_ids.append(threading.get_ident())
        started.set()
        door.wait(WAIT)

    with Pool(stopped_here, size=1) as pool:
        pool.process_async(1)
        assert started.wait(WAIT)
        frame = sys._current_frames()[thread_ids[0]]
        names = set()
        while frame is not None:
            names.add(frame.f_code.co_name)
            frame = frame.f_back  # type: ignore[assignment]
        door.set()
    assert "stopped_here" in names


def test_worker_id_is_that_of_the_slot() -> None:
    together = threading.Barrier(3)

    def job(_: int) -> int | None:
        together.wait(WAIT)
        return loomy.current_worker_id()

    with Pool(job, size=3) as pool:
        ids = pool.process_batch(range(3)).raise_for_errors()
    assert {0, 1, 2} == set(ids)
    assert loomy.current_worker_id() is None


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
def test_threads_of_an_idle_pool_are_never_scheduled() -> None:
    with naming_pool(4, "quiet") as pool:
        names_of_workers(pool, 4)
        tasks = [thread.native_id for thread in threading.enumerate() if thread.name.startswith("quiet-")]
        assert len(tasks) == 4

        def switches() -> list[str]:
            lines: list[str] = []
            for task in tasks:
                status = pathlib.Path(f"/proc/self/task/{task}/status").read_text()
                lines += [line for line in status.splitlines() if line.startswith("voluntary_ctxt_switches")]
            return lines

        def quiet() -> bool:
            before = switches()
            threading.Event().wait(0.3)
            return switches() == before

        wait_until(quiet, "rest")
