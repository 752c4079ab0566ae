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


def is_interrupt(error: KeyboardInterrupt) -> bool:
    """Whether a signal raised `error` on this thread, rather than a `raise` in the job's own code."""
    import dis
    import signal

    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None:
        return True
    code = innermost.tb_frame.f_code
    if getattr(signal.getsignal(signal.SIGINT), "__code__", None) is code:
        return True  # a handler of the program's own, which raises with a statement as well
    # A signal is handled between two instructions, or inside a call; never by the instruction that raises.
    return code.co_code[innermost.tb_lasti] != dis.opmap["RAISE_VARARGS"]


def callback_error(future: object, error: Exception) -> None:
    """Log what a future's done callback raised, where and how the standard library does."""
    from concurrent.futures._base import LOGGER

    LOGGER.error("exception calling callback for %r", future, exc_info=error)


def initializer_failed(error: BaseException) -> None:
    """Log what an executor's initializer raised, where and how the standard library does."""
    from concurrent.futures._base import LOGGER

    LOGGER.critical("Exception in initializer:", exc_info=error)


def unexpected_state(future: object, state: str) -> None:
    """Log that a future of which the state is known was to be begun, as the standard library does."""
    from concurrent.futures._base import LOGGER

    LOGGER.critical("Future %s in unexpected state: %s", id(future), state)
