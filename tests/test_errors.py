"""The errors: their families, messages and pickles, and what a job's own errors look like."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from helpers import WAIT, identity, wait_until

import loomy
from loomy import Context, Pool, Worker

FAMILIES: list[tuple[type[Exception], type[BaseException]]] = [
    (loomy.LoomyError, Exception),
    (loomy.PoolNotRunning, loomy.LoomyError),
    (loomy.PoolNotRunning, RuntimeError),
    (loomy.PoolFull, loomy.LoomyError),
    (loomy.JobTimedOut, loomy.LoomyError),
    (loomy.JobTimedOut, TimeoutError),
    (loomy.DeadlineExceeded, loomy.JobTimedOut),
    (loomy.JobCancelled, loomy.LoomyError),
    (loomy.JobCancelled, concurrent.futures.CancelledError),
    (loomy.WorkerClosed, loomy.LoomyError),
    (loomy.WorkerPanic, loomy.LoomyError),
    (loomy.JobNotCallable, loomy.LoomyError),
    (loomy.JobNotCallable, TypeError),
]


@pytest.mark.parametrize(("error", "family"), FAMILIES, ids=lambda kind: kind.__name__)
def test_error_belongs_to_its_families(error: type[Exception], family: type[BaseException]) -> None:
    assert issubclass(error, family)


@pytest.mark.parametrize("error", [loomy.JobCancelled, loomy.WorkerPanic, loomy.PoolFull, loomy.WorkerClosed])
def test_other_errors_are_no_timeouts(error: type[Exception]) -> None:
    assert not issubclass(error, TimeoutError)


def pool_not_running() -> None:
    pool = Pool(identity, size=1, name="told")
    pool.close()
    pool.process(1)


def queued_job_of_a_closed_pool() -> None:
    pool = Pool(identity, size=0, name="told")
    queued = pool.process_async(1)
    pool.close()
    queued.wait(WAIT)


def pool_full() -> None:
    with Pool(identity, size=0, max_pending=1, on_full="raise", name="told") as pool:
        queued = pool.process_async(1)
        try:
            pool.process_async(2)
        finally:
            queued.cancel()


def job_timed_out() -> None:
    with Pool(identity, size=0, name="told") as pool:
        pool.process(1, timeout=0)


def deadline_exceeded() -> None:
    with Pool(identity, size=0, name="told") as pool:
        pool.process(1, ctx=Context(timeout=0.01))


def job_cancelled() -> None:
    with Pool(identity, size=0, name="told") as pool:
        result = pool.process_async(1)
        result.cancel()
        result.wait(WAIT)


def worker_closed() -> None:
    class Never(Worker[int, int]):
        def __init__(self) -> None:
            raise ValueError("no worker")

        def process(self, ctx: Context, payload: int) -> int:
            return payload

    with Pool.from_workers(Never, size=1, name="told") as pool:
        pool.process(1)


def worker_panic() -> None:
    def job(_: int) -> int:
        raise SystemExit(3)

    with Pool(job, size=1, name="told") as pool:
        pool.process(1)


def job_not_callable() -> None:
    payload: Any = 7
    with Pool.from_callbacks(size=1, name="told") as pool:
        pool.process(payload)


CAUSES: dict[type[loomy.LoomyError], Callable[[], None]] = {
    loomy.PoolNotRunning: pool_not_running,
    loomy.PoolFull: pool_full,
    loomy.JobTimedOut: job_timed_out,
    loomy.DeadlineExceeded: deadline_exceeded,
    loomy.JobCancelled: job_cancelled,
    loomy.WorkerClosed: worker_closed,
    loomy.WorkerPanic: worker_panic,
    loomy.JobNotCallable: job_not_callable,
}
EACH: pytest.MarkDecorator = pytest.mark.parametrize(
    ("kind", "cause"), CAUSES.items(), ids=[kind.__name__ for kind in CAUSES]
)


def raised_by(cause: Callable[[], None]) -> loomy.LoomyError:
    with pytest.raises(loomy.LoomyError) as caught:
        cause()
    return caught.value


@EACH
def test_error_is_raised_by_its_cause(kind: type[loomy.LoomyError], cause: Callable[[], None]) -> None:
    assert type(raised_by(cause)) is kind


@EACH
def test_error_survives_pickling(kind: type[loomy.LoomyError], cause: Callable[[], None]) -> None:
    error = raised_by(cause)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        twin = pickle.loads(pickle.dumps(error, protocol))
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert twin.args == error.args


@EACH
def test_error_can_be_copied(kind: type[loomy.LoomyError], cause: Callable[[], None]) -> None:
    error = raised_by(cause)
    assert str(copy.copy(error)) == str(error)
    assert type(copy.deepcopy(error)) is kind


@EACH
def test_error_says_what_happened_in_words(kind: type[loomy.LoomyError], cause: Callable[[], None]) -> None:
    message = str(raised_by(cause))
    assert len(message.split()) >= 4, message


@EACH
def test_error_can_be_made_without_arguments(kind: type[loomy.LoomyError], cause: Callable[[], None]) -> None:
    assert isinstance(pickle.loads(pickle.dumps(kind())), kind)


@pytest.mark.parametrize(
    "cause", [pool_not_running, queued_job_of_a_closed_pool, pool_full], ids=lambda cause: cause.__name__
)
def test_error_of_a_pool_names_the_pool(cause: Callable[[], None]) -> None:
    assert "told" in str(raised_by(cause))


def test_depth_of_pool_full_survives_pickling() -> None:
    error = raised_by(pool_full)
    assert isinstance(error, loomy.PoolFull)
    assert pickle.loads(pickle.dumps(error)).depth == error.depth == 1


def test_job_not_callable_names_the_type_it_got() -> None:
    assert "int" in str(raised_by(job_not_callable))


def test_worker_closed_says_why() -> None:
    error = raised_by(worker_closed)
    assert isinstance(error.__cause__, ValueError)
    assert str(error.__cause__) == "no worker"


def test_worker_panic_keeps_value_and_traceback_of_what_was_raised() -> None:
    cause = raised_by(worker_panic).__cause__
    assert isinstance(cause, SystemExit)
    assert cause.code == 3
    assert cause.__traceback__ is not None


def test_errors_are_named_as_users_import_them() -> None:
    for kind in CAUSES:
        assert kind.__module__ == "loomy"
        assert getattr(loomy, kind.__name__) is kind


def test_cancelled_error_of_asyncio_in_a_job_is_a_worker_panic() -> None:
    def job(_: int) -> int:
        raise asyncio.CancelledError("from the job")

    with Pool(job, size=1) as pool:
        with pytest.raises(loomy.WorkerPanic) as caught:
            pool.process(1)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert not pool.process_async(1).cancelled()


def test_cancelled_error_of_the_standard_library_in_a_job_is_the_error_of_the_job() -> None:
    def job(_: int) -> int:
        raise concurrent.futures.CancelledError("from the job")

    with Pool(job, size=1) as pool:
        result = pool.process_async(1)
        with pytest.raises(concurrent.futures.CancelledError, match="from the job") as caught:
            result.wait(WAIT)
        assert not isinstance(caught.value, loomy.JobCancelled)
        assert pool.stats().failed == 1


def test_timeout_error_of_a_job_is_not_taken_for_a_timeout_of_the_pool() -> None:
    def job(_: int) -> int:
        raise TimeoutError("from the job")

    with Pool(job, size=1) as pool:
        with pytest.raises(TimeoutError, match="from the job") as caught:
            pool.process(1, timeout=WAIT)
        assert not isinstance(caught.value, loomy.LoomyError)
        stats = pool.stats()
    assert (stats.failed, stats.timed_out) == (1, 0)


def test_loomy_error_that_a_job_raises_is_the_error_of_the_job() -> None:
    def job(_: int) -> int:
        raise loomy.JobTimedOut("raised by the job itself")

    with Pool(job, size=1) as pool:
        with pytest.raises(loomy.JobTimedOut, match="raised by the job itself"):
            pool.process(1)
        assert pool.stats().submitted == 1


def test_exception_whose_init_needs_arguments_is_raised() -> None:
    class Demanding(Exception):
        def __init__(self, first: int, second: int) -> None:
            super().__init__(f"{first}/{second}")

    def job(_: int) -> int:
        raise Demanding(1, 2)

    with Pool(job, size=1) as pool, pytest.raises(Demanding, match="1/2"):
        pool.process(1)


def test_exception_whose_init_raises_is_the_error_of_that_init() -> None:
    class Broken(Exception):
        def __init__(self) -> None:
            raise RuntimeError("cannot even fail")

    def job(_: int) -> int:
        raise Broken

    with Pool(job, size=1) as pool, pytest.raises(RuntimeError, match="cannot even fail"):
        pool.process(1)


def test_cause_and_context_of_an_error_are_kept() -> None:
    def job(_: int) -> int:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    with Pool(job, size=1, affinity="worker") as pool, pytest.raises(ValueError, match="second") as caught:
        pool.process(1)
    assert isinstance(caught.value.__cause__, KeyError)


def test_error_of_a_job_has_no_context_of_its_own() -> None:
    def job(_: int) -> int:
        raise ValueError("of the job")

    with Pool(job, size=1, affinity="worker") as pool:
        error = pool.process_async(1).exception(WAIT)
        assert error is not None
        assert error.__context__ is None


class Unpicklable(Exception):
    """What a job raises is never pickled, so that this matters to nobody."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise RuntimeError("cannot be pickled")


def raise_unpicklable(_: int) -> int:
    raise Unpicklable("as it is")


@pytest.mark.parametrize("affinity", ["any", "worker"])
def test_exception_whose_pickling_raises_arrives_as_itself(affinity: Any) -> None:
    with Pool(raise_unpicklable, size=1, affinity=affinity) as pool:
        calls: list[Callable[[], object]] = [
            lambda: pool.process(1),
            lambda: pool.process(1, timeout=WAIT),
            lambda: pool.process_async(1).wait(WAIT),
            lambda: next(pool.map([1])),
        ]
        for call in calls:
            with pytest.raises(Unpicklable, match="as it is"):
                call()
        batch = pool.process_batch([1, 2])
        assert [type(error) for error in batch.errors] == [Unpicklable] * 2
        with pytest.raises(ExceptionGroup) as caught:
            batch.raise_for_errors()
        assert caught.value.exceptions == tuple(batch.errors)
    with loomy.Executor(1) as executor, pytest.raises(Unpicklable, match="as it is"):
        executor.submit(raise_unpicklable, 1).result(WAIT)


def test_exception_whose_pickling_raises_is_logged_if_nobody_looks(caplog: pytest.LogCaptureFixture) -> None:
    with Pool(raise_unpicklable, size=1) as pool:
        pool.process_async(1)
    wait_until(lambda: gc.collect() >= 0 and "as it is" in caplog.text)


def test_error_whose_cause_cannot_be_pickled_survives_pickling() -> None:
    class Never(Worker[int, int]):
        def __init__(self) -> None:
            raise_unpicklable(1)

        def process(self, ctx: Context, payload: int) -> int:
            return payload

    with Pool.from_workers(Never, size=1) as pool, pytest.raises(loomy.WorkerClosed) as caught:
        pool.process(1)
    assert type(caught.value.__cause__) is Unpicklable
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
