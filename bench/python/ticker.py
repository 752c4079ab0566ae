"""A Python thread that ticks, and remembers the longest time it could not."""

import threading
import time


class Ticker:
    """Sleeps a millisecond, looks at the clock, and again: what a heartbeat or a UI thread does."""

    def __init__(self) -> None:
        self.largest_gap = 0.0
        self.ticks = 0
        self._stop = False
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="ticker")

    def start(self) -> None:
        self._thread.start()
        self._running.wait()

    def stop(self) -> None:
        """A gap that is still going on counts: the loop ends only after one more tick."""
        self._stop = True
        self._thread.join()

    def _tick(self) -> None:
        self._running.set()
        last = time.perf_counter()
        while not self._stop:
            time.sleep(0.001)
            now = time.perf_counter()
            self.largest_gap = max(self.largest_gap, now - last)
            self.ticks += 1
            last = now
