"""What a batch returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("BatchResult",)

Out = TypeVar("Out")

if TYPE_CHECKING:
    # Checkers unpack nothing but tuples into values of different types, so to them this is the pair that it
    # acts as.
    class _Pair(tuple[list[Out | None], list[BaseException | None]], Generic[Out]):
        __slots__ = ()

else:

    class _Pair(Generic[Out]):
        __slots__ = ()


class BatchResult(_Pair[Out]):
    """Results and errors of a batch, two lists in input order: `results, errors = pool.process_batch(xs)`.

    For each payload one of the two is `None` (both, if the job returned `None`).
    """

    __slots__ = ("_errors", "_failures", "_results")
    __module__ = "loomy"

    if TYPE_CHECKING:
        # Else what they take for a tuple would inherit `tuple.__new__`.
        def __new__(cls, results: list[Out | None], failures: dict[int, BaseException] | None) -> Self: ...

    _results: list[Out | None]
    _failures: dict[int, BaseException] | None
    _errors: list[BaseException | None] | None

    def __init__(self, results: list[Out | None], failures: dict[int, BaseException] | None) -> None:
        self._results = results
        self._failures = failures
        self._errors = None

    @property
    def results(self) -> list[Out | None]:
        """What the jobs returned, `None` for those that failed."""
        return self._results

    @property
    def errors(self) -> list[BaseException | None]:
        """What the jobs raised, `None` for those that returned. Made when first asked for."""
        if self._errors is None:
            errors: list[BaseException | None] = [None] * len(self._results)
            for index, error in (self._failures or {}).items():
                errors[index] = error
            self._errors = errors
        return self._errors

    @property
    def ok(self) -> bool:
        """Whether every job returned."""
        return not self._failures

    def raise_for_errors(self) -> list[Out]:
        """Return the results if every job returned.

        Otherwise raise an `ExceptionGroup` of all errors in input order (a `BaseExceptionGroup` if one of
        them is not an `Exception`). `except*` picks them apart; `errors` says which payload each belongs to.
        """
        if self._failures:
            errors = [error for _, error in sorted(self._failures.items())]
            raise BaseExceptionGroup(f"{len(errors)} of {len(self._results)} jobs failed", errors)
        return cast("list[Out]", self._results)

    def __iter__(self) -> Iterator[list[Out | None] | list[BaseException | None]]:
        yield self._results
        yield self.errors

    def __repr__(self) -> str:
        failed = len(self._failures) if self._failures else 0
        return f"<loomy.BatchResult: {len(self._results)} jobs, {failed} failed>"
