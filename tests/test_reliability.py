"""What must survive: each scenario has its tests (the table of tests/README.md), some of them here."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
import time

import pytest
import source_rules as rules
from helpers import SCRIPTS, WAIT, Background, Gate, identity, run_program, run_script
from kernel_tools import CC, compiled
from named_tests import check_that_it_is_there, named_in, rows_of

import loomy
from loomy import Context, Pool

ROWS = rows_of("What must survive")


def test_every_scenario_has_its_tests() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 34))


@pytest.mark.parametrize(("number", "named"), ROWS, ids=[number for number, _ in ROWS])
def test_the_tests_of_a_scenario_are_there(number: str, named: str) -> None:
    tests = named_in(named)
    assert tests, f"scenario {number} names no test"
    for file, test in tests:
        check_that_it_is_there(file, test)


def test_09_shutdown_is_bounded_by_its_deadline_though_a_job_never_ends() -> None:
    """Within 50 ms; one late answer in five may be the machine's fault."""
    late: list[float] = []
    for _ in range(5):
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            pool.process_async(1)
            gate.wait_entered()
            begun = time.monotonic()
            with pytest.raises(loomy.JobTimedOut):
                pool.shutdown(0.1)
            late.append(time.monotonic() - begun - 0.1)
            gate.open()
        if late[-1] < 0.05:
            break
    assert min(late) < 0.05


@pytest.mark.parametrize("bound", ["timeout", "context"])
def test_09_shutdown_is_bounded_by_its_deadline_whatever_the_pool_is_busy_with(bound: str) -> None:
    """Jobs that never end, in a batch, a map, a call and a result, more of each queued: nobody waits on.

    One late answer in ten may be the machine's fault.
    """
    late: list[float] = []
    for _ in range(10):
        with Gate() as gate, Pool(gate.block, size=4, affinity="worker") as pool:
            waiting: list[Background[object]] = [
                Background(functools.partial(pool.process, 1)),
                Background(lambda: pool.process_async(2).wait(WAIT)),
                Background(lambda: pool.process_batch([3] * 20).raise_for_errors()),
                Background(lambda: list(pool.map([4] * 20))),
            ]
            gate.wait_entered(4)
            waiting += [
                Background(functools.partial(pool.process, 5)),
                Background(functools.partial(pool.process, 6, timeout=WAIT)),
                Background(lambda: pool.process_batch([7] * 20).raise_for_errors()),
            ]
            queued = [pool.process_async(8) for _ in range(100)]
            begun = time.monotonic()
            with pytest.raises(loomy.JobTimedOut):
                pool.shutdown(0.1) if bound == "timeout" else pool.shutdown(ctx=Context(timeout=0.1))
            late.append(time.monotonic() - begun - 0.1)
            for waiter in waiting:
                with pytest.raises((loomy.LoomyError, ExceptionGroup)):
                    waiter.result()
            assert all(result.done() for result in queued)
            assert pool.running == 4  # none of them has ended: the gate is shut
            gate.open()
        if late[-1] < 0.05:
            break
    assert min(late) < 0.05


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="needs POSIX signals")
def test_18_children_that_end_shorten_no_timeout() -> None:
    told: list[int] = []
    previous = signal.signal(signal.SIGCHLD, lambda number, _: told.append(number))
    try:
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            result = pool.process_async(7)
            gate.wait_entered()
            child = subprocess.Popen(["sleep", "0.1"])
            begun = time.monotonic()
            with pytest.raises(TimeoutError):
                result.wait(0.4)
            assert time.monotonic() - begun >= 0.4
            child.wait()
            gate.open()
            assert result.wait(WAIT) == 7
    finally:
        signal.signal(signal.SIGCHLD, previous)
    assert told


def test_23_stacks_dumped_while_jobs_run() -> None:
    """`faulthandler.dump_traceback_later` walks the stacks of workers from outside of Python.

    Of threads that stand still: CPython 3.13 crashes where one begins or ends meanwhile, whoever made it.
    """
    program = """
import faulthandler, loomy, threading, time
started, go_on = threading.Barrier(3), threading.Event()
def job(_):
    started.wait(30)
    return go_on.wait(30)
with loomy.Pool(job, 2) as pool:
    results = [pool.process_async(i) for i in range(2)]
    started.wait(30)
    time.sleep(0.1)
    faulthandler.dump_traceback_later(0.05, repeat=True)
    time.sleep(1)
    faulthandler.cancel_dump_traceback_later()
    go_on.set()
    assert [result.wait(30) for result in results] == [True, True]
"""
    finished = run_program(program)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count("in job") >= 2


def test_23_frozen_garbage() -> None:
    """`gc.freeze` while jobs and results are about: they end, and what was frozen is let go of."""
    program = """
import gc, loomy, weakref
class Payload: pass
payload = Payload()
gone = weakref.ref(payload)
with loomy.Pool(lambda each: gc.collect(), 2) as pool:
    results = [pool.process_async(payload) for _ in range(20)]
    gc.freeze()
    for result in results: result.wait()
    more = [pool.process_async(Payload()) for _ in range(20)]
    gc.unfreeze()
    for result in more: result.wait()
del payload, results, result, more
gc.collect()
assert gone() is None and pool.stats().completed == 40
"""
    finished = run_program(program)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


# What reads the system clock in C++ and C, and what waits until a time of it.
SYSTEM_CLOCK = r"\b(?:{})\b|\btime\((?:NULL|nullptr|0|&\w+)\)".format(
    "|".join(
        (
            "system_clock|high_resolution_clock|utc_clock|tai_clock|gps_clock|file_clock",
            "CLOCK_REALTIME(?:_COARSE)?|FUTEX_CLOCK_REALTIME|TIME_UTC|gettimeofday|timespec_get|ftime",
            "sem_timedwait|pthread_cond_timedwait|pthread_mutex_timedlock|pthread_rwlock_timed(?:rd|wr)lock",
            "pthread_timedjoin_np|mq_timed(?:send|receive)|cnd_timedwait|mtx_timedlock",
        )
    )
)
SYSTEM_CLOCK_OF_PYTHON = r"\btime\.time(?:_ns)?\(|\bCLOCK_REALTIME\b|\bdatetime\b"


def test_26_no_wait_looks_at_the_system_clock() -> None:
    found = [
        spot for file in rules.sources("cpp", ".hpp", ".h", ".cpp") for spot in file.in_code(SYSTEM_CLOCK)
    ]
    found += [
        spot for file in rules.sources("python", ".py") for spot in file.in_text(SYSTEM_CLOCK_OF_PYTHON)
    ]
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "auto until = std::chrono::system_clock::now() + 1s;",
        "clock_gettime(CLOCK_REALTIME_COARSE, &now);",
        "while (sem_timedwait(&semaphore, &until) != 0) {}",
        "pthread_cond_timedwait(&condition, &mutex, &until);",
        "pthread_mutex_timedlock(&mutex, &until);",
        "pthread_rwlock_timedrdlock(&lock, &until);",
        "const auto now = std::time(nullptr);",
        "timespec_get(&now, TIME_UTC);",
    ],
)
def test_26_the_system_clock_would_be_found(line: str) -> None:
    assert rules.Source("cpp/loomy/sync/parker.cpp", line).in_code(SYSTEM_CLOCK)


def test_26_no_wait_asks_python_for_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day has passed at every look."""
    day = 86_400.0
    looks = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: next(looks) * day)
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        waiter = Background(lambda: pool.process(3, timeout=WAIT))
        gate.wait_entered()
        assert waiter.running()
        gate.open()
        assert waiter.result() == 3
    with Pool(identity, size=1) as other:
        assert other.process(1, timeout=5) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="preloads a library")
@pytest.mark.skipif(CC is None, reason="needs a C compiler (cc)")
def test_26_waits_take_their_time_while_the_system_clock_jumps() -> None:
    shim = compiled(SCRIPTS / "jumping_clock.c", "-fvisibility=default")
    finished = run_script("jumping_clock", preload=shim)
    assert finished.returncode == 0, finished.stderr
