"""What loomy has to tell where there is no caller to tell it to."""

from __future__ import annotations


def unseen_error(pool_name: str, error: BaseException) -> None:
    """Log an exception of a job whose result was collected before anybody looked at it."""
    import logging  # here, so that `import loomy` does not pay for it

    logging.getLogger("loomy").error(
        "a job of pool %r failed and nobody looked at its result: wait() for it, or call exception()",
        pool_name,
        exc_info=error,
    )
