"""What bench/instructions.py counts: ``python instructions_job.py FEW MANY`` takes each path so often, twice.

Nothing here may depend on time or chance: the collector is off, no thread has to wait for the interpreter or
in loomy, and the function, the payloads and the results cost next to nothing themselves.
"""

import ctypes
import gc
import os
import sys
import threading
from operator import not_ as cheap  # written in C, makes no object

import loomy

WARM_UP = 100  # what happens only once is over by then; the rest cancels out between few and many
MORE_CHUNKS = (
    20  # so many chunks for one job elsewhere: one is so short that each look at the clock would show
)

LIBRARY = os.environ["LOOMY_COUNTED_LIBRARY"]
write_down = ctypes.PyDLL(LIBRARY).mark  # a PyDLL keeps the interpreter: no thread takes it meanwhile


class Counted:
    """Instructions of this thread inside the block, under the name of the path."""

    def __init__(self, path: str, times: int) -> None:
        self._name = f"{path} {times}".encode()

    def __enter__(self) -> None:
        write_down(b"before")

    def __exit__(self, *failure: object) -> None:
        write_down(self._name)


def process(count: int) -> None:
    """The caller's thread runs the job on the free slot."""
    with loomy.Pool(cheap, size=1) as pool:
        call = pool.process
        for _ in range(WARM_UP):
            call(None)
        with Counted("process", count):
            for _ in range(count):
                call(None)


def submit_run_collect(count: int) -> None:
    """Jobs are queued behind a worker that is held up; it runs them all; each result is asked for."""
    with Held() as held:
        submit_one = held.pool.process_async
        handles = []
        with Counted("submit", count):
            for _ in range(count):
                handles.append(submit_one(None))
        held.release(Counted("run", count))
        right = 0
        with Counted("collect", count):
            for handle in handles:
                right += handle.wait()
        assert right == count, "a result is wrong"


def batch(count: int) -> None:
    """The caller's thread runs all items on the only slot."""
    with loomy.Pool(cheap, size=1) as pool:
        pool.process_batch([None] * WARM_UP)
        payloads = [None] * count
        with Counted("batch item", count):
            outcomes = pool.process_batch(payloads)
        assert outcomes.raise_for_errors().count(True) == count, "a result is wrong"


def launch(count: int) -> None:
    """As submit, with launches of a kernel over an array."""
    with Held() as held:
        start, kernel, array = held.pool.launch, nothing(), bytearray(512)
        handles = []
        with Counted("launch", count):
            for _ in range(count):
                handles.append(start(kernel, array, n=64))
        held.release()


def chunk(count: int) -> None:
    """The worker runs so many chunks of one launch."""
    with Held() as held:
        chunks = count * MORE_CHUNKS
        held.pool.launch(nothing(), n=chunks, chunks=chunks)
        held.release(Counted("chunk", chunks))


def nothing() -> loomy.Kernel:
    function = ctypes.CDLL(LIBRARY).nothing
    function.argtypes, function.restype = [ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_void_p], ctypes.c_int
    return loomy.kernel(function)


class Held:
    """A pool of one worker, who is held up by a job until `release`, which returns when all has been run."""

    # Waiting in loomy would spin, and how long depends on the worker: events wait as long as they must.

    def __init__(self) -> None:
        self.entered, self.released, self.drained = (threading.Event() for _ in range(3))
        self.of_worker: Counted | None = None
        self.pool: loomy.Pool[object, bool] = loomy.Pool(cheap, size=1, affinity="worker")

    def __enter__(self) -> "Held":
        self.pool.process_async(First(self))
        self.entered.wait()
        return self

    def __exit__(self, *failure: object) -> None:
        self.pool.close()

    def release(self, of_worker: Counted | None = None) -> None:
        self.of_worker = of_worker
        self.pool.process_async(Last(self))
        self.released.set()
        self.drained.wait()


class First:
    """A payload: `cheap` asks whether it is true. What the worker takes is counted from its end."""

    def __init__(self, of: Held) -> None:
        self._of = of

    def __bool__(self) -> bool:
        self._of.entered.set()
        self._of.released.wait()
        if self._of.of_worker:
            self._of.of_worker.__enter__()
        return True


class Last(First):
    """Until its beginning."""

    def __bool__(self) -> bool:
        if self._of.of_worker:
            self._of.of_worker.__exit__()
        self._of.drained.set()
        return True


PATHS = (process, submit_run_collect, batch, launch, chunk)

if __name__ == "__main__":
    gc.disable()
    sys.setswitchinterval(3600)  # nobody asks for the interpreter because time has passed
    for path in PATHS:
        for times in sys.argv[1:]:
            path(int(times))
    os._exit(0)  # the end of an interpreter is long, and nobody's path
