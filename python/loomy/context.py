"""Deadlines, cancellation and values that travel with a job, and what a job can ask about itself."""

from loomy._loomy import CancelHandle, Context, check_cancelled, current_context, current_worker_id

__all__ = ("CancelHandle", "Context", "check_cancelled", "current_context", "current_worker_id")
