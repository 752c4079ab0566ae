"""What several test files share: doors that hold jobs, threads that report, subprocesses that cannot hang."""

from __future__ import annotations

import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import loomy

T = TypeVar("T")

WAIT = 20.0  # bound of waits that end at once unless something is broken
LONG = os.environ.get("LOOMY_LONG") == "1"
threads_at_once = 1  # on which each test runs; more with pytest-run-parallel: conftest.py
GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
SCRIPTS = pathlib.Path(__file__).parent / "scripts"

NO_LIMIT: list[Any] = [None, math.inf, 1e18, 10**18, 3600]
ALREADY_PASSED: list[Any] = [0, 0.0, -0.0, -1, -0.5, -1e18, -math.inf]
NOT_A_TIMEOUT: list[Any] = [True, False, "1", b"1", [], {}, 1j, object()]


def examples_for(usual: int, long: int) -> int:
    """How many random examples a test tries on this thread; with LOOMY_LONG=1 `long`."""
    return max(1, (long if LONG else usual) // threads_at_once)


class Gate:
    """A door at which jobs stop until the test opens it. Leaving its `with` block opens it."""

    def __init__(self) -> None:
        self._entered = threading.Semaphore(0)
        self._open = threading.Event()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()

    def block(self, payload: int) -> int:
        """The job: reports that it runs, waits for the door, returns its payload."""
        self._entered.release()
        if not self._open.wait(2 * WAIT):  # so that whoever waits for the job gives up first
            raise AssertionError("the test never opened the gate")
        return payload

    def wait_entered(self, count: int = 1) -> None:
        """Returns when `count` more jobs than before have arrived at the door."""
        for _ in range(count):
            if not self._entered.acquire(timeout=WAIT):
                raise AssertionError("the job never started")

    def open(self) -> None:
        self._open.set()


class Background(Generic[T]):
    """Runs `call` on a thread of its own; `result()` joins it and gives what it returned or raised."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._value: list[T] = []
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="test-background", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._value.append(self._call())
        except BaseException as error:
            self._error = error

    def running(self) -> bool:
        return self.thread.is_alive()

    def result(self, timeout: float = WAIT) -> T:
        self.thread.join(timeout)
        if self.thread.is_alive():
            raise AssertionError("the call in the background never returned")
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error
        return self._value[0]


def in_threads(count: int, call: Callable[[int], T]) -> list[T]:
    """Runs `call(0)` … `call(count - 1)` on threads that all start together; the results in order."""
    barrier = threading.Barrier(count)

    def run(index: int) -> T:
        barrier.wait(WAIT)
        return call(index)

    def bind(index: int) -> Callable[[], T]:
        return lambda: run(index)

    threads = [Background(bind(index)) for index in range(count)]
    return [thread.result(2 * WAIT) for thread in threads]


def wait_until(condition: Callable[[], bool], what: str = "the condition", timeout: float = WAIT) -> None:
    """Polls for a state that nothing announces."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} never came true")
        time.sleep(0.001)


def identity_holds(stats: loomy.PoolStats) -> bool:
    ended = stats.completed + stats.failed + stats.cancelled + stats.timed_out
    return stats.submitted == ended + stats.queued + stats.running


@contextmanager
def unraisable_errors() -> Iterator[list[BaseException | None]]:
    """Collects what is reported to `sys.unraisablehook`."""
    seen: list[BaseException | None] = []
    previous = sys.unraisablehook

    def collect(report: sys.UnraisableHookArgs) -> None:
        seen.append(report.exc_value)

    sys.unraisablehook = collect
    try:
        yield seen
    finally:
        sys.unraisablehook = previous


@contextmanager
def one_busy_worker() -> Iterator[tuple[loomy.Executor, Gate]]:
    """An executor whose only worker is held at the gate, so that what is submitted stays queued."""
    with loomy.Executor(1) as executor, Gate() as gate:
        executor.submit(gate.block, 0)
        gate.wait_entered()
        yield executor, gate


def raise_it(error: BaseException) -> None:
    raise error


def identity(payload: int) -> int:
    return payload


def double(payload: int) -> int:
    return 2 * payload


def thread_of_job(_: int) -> int:
    return threading.get_ident()


def fail_on_negative(payload: int) -> int:
    if payload < 0:
        raise ValueError(f"negative: {payload}")
    return payload


def run_script(
    name: str,
    *arguments: object,
    timeout: float = 45.0,
    flags: tuple[str, ...] = (),
    preload: pathlib.Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs tests/scripts/<name>.py in a fresh interpreter; a hang is a failure that shows its output."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    if preload is not None:  # after a sanitizer's runtime, which must be the first
        environment["LD_PRELOAD"] = f"{environment.get('LD_PRELOAD', '')} {preload}".strip()
    command = [sys.executable, *flags, str(SCRIPTS / f"{name}.py"), *map(str, arguments)]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # children it forked hold the pipes as well
            output, errors = process.communicate()
            raise AssertionError(f"{name} {arguments} hangs\n{output}\n{errors}") from None
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def run_program(program: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )


def assert_soon_interrupted(script: str, *arguments: object, within: float = 0.5, tries: int = 3) -> None:
    """Runs a script that is interrupted with Ctrl-C and reports how many seconds that took."""
    latencies: list[float] = []
    for _ in range(tries):  # one slow answer may be the machine's fault, so many are ours
        finished = run_script(script, *arguments)
        assert finished.returncode == 0, finished.stderr
        latencies.append(json.loads(finished.stdout)["latency"])
        if latencies[-1] < within:
            return
    raise AssertionError(f"KeyboardInterrupt only after {latencies} s")


def scenarios_in(script: str) -> list[str]:
    """The names in the table that ends a script; read and not imported, as scripts change the process."""
    table = (SCRIPTS / f"{script}.py").read_text().partition("for scenario in (")[2].partition("\n    )")[0]
    return [name.strip() for name in table.split(",") if name.strip()]
