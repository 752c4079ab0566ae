"""The main thread: it takes the signals, forks, watches over the actors and gives the verdict."""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import random
import resource
import signal
import sys
import threading
import time
import traceback
import warnings
from functools import partial

import loomy
from loomy import Context, Pool

from . import __doc__ as description
from .actors import ACTORS
from .shared import WAIT, Soak, check, expect, growth, until_cancelled

STUCK = 30.0  # seconds
GROWN = 16.0  # MiB, of growth() of what is resident: in ten minutes a leak of 0.2 MiB a second shows
STAYS = ("loomy-service", "loomy-aio", "loomy-default")  # what serves the whole process, until it ends


class Signalled(BaseException):
    """Raised by the handler of SIGUSR1 in the main thread, as KeyboardInterrupt is by that of SIGINT."""


def take_signals(soak: Soak) -> None:
    parent = os.getpid()

    def on_alarm(*_: object) -> None:
        # Without the GIL a child runs handlers of signals that its parent had got, before it forgets them:
        # while it takes over what the threads that it has not got leave, and our lock may have been theirs.
        if os.getpid() != parent or soak.handling:
            return
        soak.handling = True
        try:
            with soak.fault("signal handler submits"):
                soak.pool.process_async(int)
        finally:
            soak.handling = False

    def on_user(*_: object) -> None:
        if soak.armed and not soak.handling:  # it comes again
            soak.armed = False
            raise Signalled

    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGUSR1, on_user)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)


def interrupt(soak: Soak) -> None:
    """A wait that a signal handler ends, as Ctrl-C does."""
    with soak.fault("exception of a signal handler in a wait"), Context() as context:
        result = soak.pool.process_async(until_cancelled, ctx=context)
        main, answered = threading.get_ident(), threading.Event()

        def signal_until_answered() -> None:
            while not answered.wait(0.01):
                signal.pthread_kill(main, signal.SIGUSR1)

        def wait() -> None:
            soak.armed = True
            result.wait(WAIT)

        sender = threading.Thread(target=signal_until_answered)
        sender.start()
        try:
            expect(Signalled, wait)
        finally:
            soak.armed = False
            answered.set()
            sender.join()
        context.cancel()
        expect(loomy.JobCancelled, partial(result.wait, WAIT))


def fork(soak: Soak) -> None:
    """A child of a process full of threads: old pools refuse, new ones work."""
    with soak.fault("fork"):
        child = os.fork()
        if child == 0:
            in_child(soak)
        end = time.monotonic() + WAIT + 5
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.005)
        check(status == 0, f"the child ended with {status}")


def in_child(soak: Soak) -> None:
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # not faulthandler, whose thread is the parent's
        signal.alarm(int(WAIT))
        expect(loomy.PoolNotRunning, partial(soak.pool.process_async, int))
        pool: Pool[int, int] = Pool(abs, size=2, affinity="worker")
        with pool:
            check(pool.process_batch(range(-9, 0)).results == list(range(9, 0, -1)), "a batch in a child")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def resident() -> float:
    with open("/proc/self/statm") as sizes:
        return int(sizes.read().split()[1]) * resource.getpagesize() / 2**20


def run(minutes: float, seed: int) -> int:
    # With a dozen threads that compute, each release of the GIL would cost its holder a dozen turns.
    sys.setswitchinterval(0.0005)
    soak = Soak(seed)
    before = set(threading.enumerate())
    threads = [
        threading.Thread(target=soak.act, args=(actor,), name=actor.__name__, daemon=True) for actor in ACTORS
    ]
    for thread in threads:
        thread.start()
    take_signals(soak)
    began = time.monotonic()
    moved = {thread.name: (0, began) for thread in threads}
    sizes: list[float] = []
    while time.monotonic() - began < 60 * minutes and not soak.over.is_set():
        faulthandler.dump_traceback_later(2 * STUCK, exit=True)  # for a hang that takes this thread along
        try:
            interrupt(soak)
            fork(soak)
        except BaseException:
            soak.failures.append(f"main thread:\n{traceback.format_exc()}")
            break
        now = time.monotonic()
        for name, (rounds, since) in moved.items():
            if soak.rounds[name] != rounds:
                moved[name] = soak.rounds[name], now
            elif now - since > STUCK:
                stuck(f"{name} got nowhere for {STUCK:.0f} s")
        sizes.append(resident())
        print(
            f"{now - began:6.0f} s  {soak.pool.stats().submitted:9d} shared jobs  "
            f"{sum(soak.rounds.values()):7d} rounds  {sum(soak.survived.values()):7d} faults survived  "
            f"{threading.active_count():4d} threads  {sizes[-1]:6.1f} MiB",
            flush=True,
        )
        soak.over.wait(max(0.0, 1.0 - (time.monotonic() - now)))
    soak.over.set()
    faulthandler.dump_traceback_later(2 * STUCK, exit=True)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for thread in threads:
        thread.join(STUCK)
        if thread.is_alive():
            stuck(f"{thread.name} does not end")
    gc.collect()
    soak.pool.shutdown(WAIT)
    faulthandler.cancel_dump_traceback_later()
    return verdict(soak, before, sizes)


def verdict(soak: Soak, before: set[threading.Thread], sizes: list[float]) -> int:
    stats = soak.pool.stats()
    ended = stats.completed + stats.failed + stats.cancelled + stats.timed_out
    if stats.submitted != ended or stats.queued or stats.running:
        soak.failures.append(f"the statistics do not add up: {stats}")

    def left_behind() -> list[str]:
        names = (thread.name for thread in set(threading.enumerate()) - before)
        return sorted(name for name in names if name.rpartition("-")[0] not in STAYS and name not in STAYS)

    end = time.monotonic() + WAIT
    while left_behind() and time.monotonic() < end:
        time.sleep(0.01)
    if left_behind():
        soak.failures.append(f"threads were left behind: {left_behind()}")
    print(f"\n{'fault':48} {'injected':>9} {'survived':>9}")
    for name, count in sorted(soak.injected.items()):
        print(f"{name:48} {count:9d} {soak.survived[name]:9d}")
        if count != soak.survived[name]:
            soak.failures.append(f"not survived: {name}")
    if sizes:
        half, grown = sizes[len(sizes) // 2], growth(sizes)
        print(f"\nmemory: {sizes[0]:.0f} MiB at first, {half:.0f} half-way, {sizes[-1]:.0f} at the end")
        if grown > GROWN:
            soak.failures.append(f"memory grew by {grown:.0f} MiB after the warm-up, and may by {GROWN:.0f}")
    for failure in soak.failures:
        print(f"\nFAILED: {failure}")
    print("VERDICT:", "failed" if soak.failures else "passed", flush=True)
    return 1 if soak.failures else 0


def stuck(what: str) -> None:
    print(f"VERDICT: failed, {what}", flush=True)
    faulthandler.dump_traceback(all_threads=True)
    os._exit(3)


def main() -> int:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None, help="of what the actors roll")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(2**32)
    gil = "on" if getattr(sys, "_is_gil_enabled", lambda: True)() else "off"
    print(f"seed {seed}, Python {sys.version.split()[0]}, GIL {gil}", flush=True)
    warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
    return run(options.minutes, seed)


if __name__ == "__main__":
    sys.exit(main())
