"""Hooks that only count. Imported by the child that needs them, because it needs loomy."""

from typing import Any

from loomy import Hooks


class CountingHooks(Hooks[Any, Any]):
    """All five. Plain attributes: the workload lets one job run at a time, so no count is lost."""

    def __init__(self) -> None:
        self.started = 0
        self.completed = 0
        self.failed = 0
        self.workers_started = 0
        self.workers_stopped = 0

    def jobs_seen(self) -> tuple[int, int, int]:
        return self.started, self.completed, self.failed

    def on_job_start(self, payload: Any) -> None:
        self.started += 1

    def on_job_complete(self, payload: Any, result: Any, duration: float) -> None:
        self.completed += 1

    def on_job_error(self, payload: Any, error: BaseException, duration: float) -> None:
        self.failed += 1

    def on_worker_start(self, worker_id: int) -> None:
        self.workers_started += 1

    def on_worker_stop(self, worker_id: int) -> None:
        self.workers_stopped += 1
