"""What bench/instructions.py counts: ``python instructions_job.py PATH COUNT`` takes a path so often.

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

WARM_UP = 100  # what happens only once is over by then; the rest cancels out between a short and a long run


def process(count: int) -> None:
    """The caller's thread runs the job on the free slot."""
    call = loomy.Pool(cheap, size=1).process
    for _ in range(WARM_UP):
        call(None)
    for _ in range(count):
        call(None)


def submit(count: int) -> None:
    """Jobs are queued behind a worker that is held up."""
    held = Held()
    held.submit(count)
    leave()  # what is queued is nobody's any more


def collect(count: int) -> None:
    """As submit; then the worker runs them all, and after that each result is asked for."""
    held = Held()
    handles = held.submit(count)
    held.release()
    right = 0
    for handle in handles:
        right += handle.wait()
    assert right == count, "a result is wrong"
    leave()


def batch(count: int) -> None:
    """The caller's thread runs all items on the only slot."""
    pool = loomy.Pool(cheap, size=1)
    pool.process_batch([None] * WARM_UP)
    results = pool.process_batch([None] * count).raise_for_errors()
    assert results.count(True) == count, "a result is wrong"


def launch(count: int) -> None:
    """As submit, with launches of a kernel over an array."""
    held = Held()
    start, kernel, array = held.pool.launch, nothing(), bytearray(512)
    handles = []
    for _ in range(count):
        handles.append(start(kernel, array, n=64))
    leave()


def chunk(count: int) -> None:
    """The worker runs so many chunks of one launch."""
    pool = loomy.Pool(cheap, size=1)
    ended = threading.Event()
    pool.launch(nothing(), n=count, chunks=count).add_done_callback(lambda _: ended.set())
    ended.wait()  # not in loomy: a spin would look at the clock, by which the worker claims more or less


def nothing() -> loomy.Kernel:
    function = ctypes.CDLL(os.environ["LOOMY_COUNTED_KERNEL"]).nothing
    function.argtypes, function.restype = [ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_void_p], ctypes.c_int
    return loomy.kernel(function)


class Held:
    """A pool of one worker, who is held up by a job until `release`, which returns when all has been run."""

    # Waiting in loomy would spin, and how long depends on the worker: events wait as long as they must.

    def __init__(self) -> None:
        self.entered, self.released, self.drained = (threading.Event() for _ in range(3))
        self.pool: loomy.Pool[object, bool] = loomy.Pool(cheap, size=1, affinity="worker")
        self.pool.process_async(First(self))
        self.entered.wait()

    def submit(self, count: int) -> list[loomy.AsyncResult[bool]]:
        submit_one = self.pool.process_async
        handles = []
        for _ in range(count):
            handles.append(submit_one(None))
        return handles

    def release(self) -> None:
        self.pool.process_async(Last(self))
        self.released.set()
        self.drained.wait()


class First:
    """A payload: `cheap` asks whether it is true."""

    def __init__(self, of: Held) -> None:
        self._of = of

    def __bool__(self) -> bool:
        self._of.entered.set()
        return self._of.released.wait()


class Last(First):
    def __bool__(self) -> bool:
        self._of.drained.set()
        return True


def leave() -> None:
    os._exit(0)


PATHS = {
    "process": process,
    "submit": submit,
    "collect": collect,
    "batch": batch,
    "launch": launch,
    "chunk": chunk,
}

if __name__ == "__main__":
    gc.disable()
    sys.setswitchinterval(3600)  # nobody asks for the interpreter because time has passed
    PATHS[sys.argv[1]](int(sys.argv[2]))
