"""The options of a pool, checked here once because the core trusts them."""

from __future__ import annotations

import math
import operator
from typing import Any, Literal, TypedDict, get_args

from loomy._loomy import usable_cpus
from loomy.hooks import Hooks

__all__ = (
    "AFFINITY",
    "Affinity",
    "OnFull",
    "PoolOptions",
    "checked",
    "checked_flag",
    "checked_word",
    "kind_of",
)

MAX_SIZE = 65_536

OnFull = Literal["block", "raise", "caller_runs"]
Affinity = Literal["any", "worker"]

ON_FULL: tuple[str, ...] = get_args(OnFull)
AFFINITY: tuple[str, ...] = get_args(Affinity)


class PoolOptions(TypedDict, total=False):
    """The keyword options that every constructor takes; `Pool` explains them.

    Hooks are not `Hooks[In, Out]`: mypy would take the types of the pool from hooks that accept any object.
    `Pool.set_hooks`, where those types are known, does check them.
    """

    name: str
    hooks: Hooks[Any, Any] | None
    max_pending: int | None
    on_full: OnFull
    copy_context: bool
    affinity: Affinity
    spin: float | None


_Checked = tuple[int, str, Hooks[Any, Any] | None, int | None, OnFull, bool, Affinity, float | None]


def checked(
    size: int | None,
    name: str,
    hooks: Hooks[Any, Any] | None,
    max_pending: int | None,
    on_full: OnFull,
    copy_context: bool,
    affinity: Affinity,
    spin: float | None,
) -> _Checked:
    """The options in the order of `PoolBase`, which trusts them: what is wrong with them is found here."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, got {kind_of(name)}")
    if hooks is not None and not isinstance(hooks, Hooks):
        raise TypeError(f"hooks must be None or an instance of a loomy.Hooks subclass, got {kind_of(hooks)}")
    checked_word("on_full", on_full, ON_FULL)
    checked_word("affinity", affinity, AFFINITY)
    size = usable_cpus() if size is None else _count("size", size, "0 lets jobs queue until the pool grows")
    if size > MAX_SIZE:
        raise ValueError(f"size must be at most {MAX_SIZE} workers, got {size}")
    if max_pending is not None:
        max_pending = _count("max_pending", max_pending, "None is a queue without bound")
        if max_pending > 2**62:
            max_pending = None  # no machine holds that many
    if spin is not None:
        spin = _microseconds(spin)
    return (
        size,
        name,
        hooks,
        max_pending,
        on_full,
        checked_flag("copy_context", copy_context),
        affinity,
        spin,
    )


def kind_of(value: object) -> str:
    """What to call a wrong value in a message; never its repr, which may be huge or raise."""
    return (
        f"the class {value.__name__}"
        if isinstance(value, type)
        else f"an object of type {type(value).__name__}"
    )


def checked_word(option: str, value: object, words: tuple[str, ...]) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{option} must be a str, one of {', '.join(map(repr, words))}; got {kind_of(value)}")
    if value not in words:
        raise ValueError(f"{option} must be one of {', '.join(map(repr, words))}; got {value!r}")


def checked_flag(option: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{option} must be True or False, got {kind_of(value)}")
    return value


def _count(option: str, value: object, hint: str) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{option} must be an int or None, got {kind_of(value)}") from None
    if count < 0:
        raise ValueError(f"{option} must not be negative, got {count}; {hint}")
    return count


def _microseconds(value: object) -> float:
    if isinstance(value, bool | str | bytes | bytearray):
        raise TypeError(f"spin must be a number of microseconds or None, got {kind_of(value)}")
    try:
        spin = float(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"spin must be a number of microseconds or None, got {kind_of(value)}") from None
    except OverflowError:
        spin = math.inf
    if not 0 <= spin < math.inf:
        raise ValueError(f"spin must be finite and not negative, got {spin}; None adapts, 0 never spins")
    return spin
