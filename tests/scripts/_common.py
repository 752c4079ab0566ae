"""For scripts that tests run in a fresh interpreter: they end, and say how it went on standard output."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable

WAIT = 20.0


def must_end() -> None:
    """From here on a hang ends in the stacks of all threads. Not for what forks: a child cannot end it."""
    faulthandler.dump_traceback_later(30, exit=True)


def scenario_of(scenarios: dict[str, Callable[[], None]]) -> Callable[[], None]:
    """The scenario that the command line names."""
    return scenarios[sys.argv[1]]


def report(**values: object) -> None:
    print(json.dumps(values))


def in_child(check: Callable[[], object]) -> None:
    """Forks; the child runs `check` and nothing else, and cannot hang; fails here if it failed there."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(25)
        try:
            check()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with status {status:#x}"


def is_asleep(thread_id: int) -> bool:
    """Whether the kernel has put that thread to sleep, as far as this system can tell."""
    try:
        with open(f"/proc/self/task/{thread_id}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "S"
    except OSError:
        return True


def wait_until_asleep(thread: threading.Thread) -> None:
    """Returns when `thread` seems to be in a blocking call: it sleeps each time we look."""
    assert thread.native_id is not None
    streak = 0
    end = time.monotonic() + WAIT
    while streak < 10 and time.monotonic() < end:
        streak = streak + 1 if is_asleep(thread.native_id) else 0
        time.sleep(0.005)


class CtrlC:
    """Sends SIGINT to this process as soon as the main thread blocks; `latency()` after it was raised."""

    def __init__(self, ready: threading.Event) -> None:
        # whoever started us may have told us to ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._ready = ready
        self._sent = 0.0
        threading.Thread(target=self._send, daemon=True).start()

    def _send(self) -> None:
        if not self._ready.wait(WAIT):
            return
        wait_until_asleep(threading.main_thread())
        self._sent = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)

    def latency(self) -> float:
        return time.monotonic() - self._sent
