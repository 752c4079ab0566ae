"""The arguments of a call, as far as loomy shares it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

# Numbers, dates and times, without Python objects, strings or anything that a user may have defined.
PLAIN = frozenset("?bhilqpBHILQPefdgFDGmM")

# NumPy's own scalars of these. Types derived from them may have their own __array_ufunc__, or __array_wrap__.
PLAIN_SCALARS = frozenset(np.dtype(char).type for char in PLAIN)

WEAK = (int, float, complex)  # Python's own scalars, which do not widen the type of an array
SCALARS = (bool, *WEAK)

EXACT = 2**53  # up to here every integer is a float

VALUE_BASED = np.lib.NumpyVersion(np.__version__) < "2.0.0"  # types of scalars depend on their values


@dataclass(frozen=True, slots=True)
class Operands:
    """A call whose inputs are plain arrays and scalars, resolved by NumPy."""

    ufunc: np.ufunc
    inputs: tuple[Any, ...]  # arrays, and scalars that do not widen
    outputs: tuple[Array | None, ...]
    where: Array | None
    options: dict[str, Any]  # dtype=, casting=
    dtypes: tuple[np.dtype[Any], ...]  # that the loop works on
    call_info: object  # the capsule of ufunc._resolve_dtypes_and_context
    fits_loop: bool  # nothing has to be cast, aligned, byte-swapped or masked

    def result(self, outputs: tuple[Array, ...]) -> Any:
        return outputs[0] if len(outputs) == 1 else outputs


def take_operands(ufunc: np.ufunc, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operands | None:
    """`None`: NumPy is to judge."""
    inputs = tuple(as_operand(given) for given in args[: ufunc.nin])
    if len(inputs) < ufunc.nin or any(given is None for given in inputs):
        return None
    outputs = take_outputs(ufunc, args[ufunc.nin :], kwargs)
    if outputs is None or mixes_durations_with_numbers(inputs, outputs):
        return None
    options = {name: value for name, value in kwargs.items() if name not in ("out", "where")}
    if options.keys() - {"dtype", "casting"} or not is_plain_option(options):
        return None
    where = kwargs.get("where", True)
    if where is True:
        where = None
    elif type(where) is not np.ndarray or where.dtype != bool or not broadcasts_to_all(where, outputs):
        return None
    try:
        dtypes, call_info = resolve(ufunc, inputs, outputs, options)
    except Exception:
        return None  # the call will raise it too
    if any(dtype.char not in PLAIN for dtype in dtypes) or not is_free_of_overlap(inputs, outputs, where):
        return None
    if warns_of_casts(inputs, outputs, where, dtypes):
        return None
    if may_round_by_layout(ufunc, dtypes) and not is_in_one_run((*inputs, *outputs)):
        return None
    return Operands(
        ufunc, inputs, outputs, where, options, dtypes, call_info,
        where is None and all(map(needs_no_cast, (*inputs, *outputs), dtypes)),
    )  # fmt: skip


def as_operand(given: Any) -> Any:
    """A plain array or a scalar; `None` for what NumPy has to convert, or what may have its own ideas."""
    if type(given) is np.ndarray:
        return given if given.dtype.char in PLAIN else None
    if type(given) in SCALARS:
        return given
    return np.asarray(given) if type(given) in PLAIN_SCALARS else None


def take_outputs(
    ufunc: np.ufunc, positional: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Array | None, ...] | None:
    given = kwargs.get("out")
    if positional and given is not None:
        return None  # an error, which NumPy words
    if positional:
        outputs = positional + (None,) * (ufunc.nout - len(positional))
    elif type(given) is tuple:
        outputs = given
    elif given is None:
        outputs = (None,) * ufunc.nout
    else:
        outputs = (given,)
    if len(outputs) != ufunc.nout:
        return None
    for output in outputs:
        plain = output is None or (
            type(output) is np.ndarray and output.dtype.char in PLAIN and output.flags.writeable
        )
        if not plain:
            return None
    return outputs


def mixes_durations_with_numbers(inputs: tuple[Any, ...], outputs: tuple[Array | None, ...]) -> bool:
    """Whether numbers may become times without a unit, of which NumPy 2.5 warns as it looks for the loop."""
    arrays = [given for given in (*inputs, *outputs) if isinstance(given, np.ndarray)]
    kinds = {array.dtype.kind for array in arrays}
    return "m" in kinds and (not kinds.isdisjoint("biu") or any(type(given) in SCALARS for given in inputs))


def broadcasts_to_all(where: Array, outputs: tuple[Array | None, ...]) -> bool:
    """Whether it masks each output as it is. One that does not fit is an error that names whole shapes."""
    for output in outputs:
        if output is None or where.ndim > output.ndim:
            return False
        lengths = output.shape[output.ndim - where.ndim :]
        if any(own not in (1, length) for own, length in zip(where.shape, lengths, strict=True)):
            return False
    return True


def is_plain_option(options: dict[str, Any]) -> bool:
    if options.get("dtype") is None:
        return True
    wanted = np.dtype(options["dtype"])
    # Units of dates would have to be worked out. Of another byte order there are no loops.
    return wanted.kind in "biufc?" and wanted.isnative


def resolve(
    ufunc: np.ufunc,
    inputs: tuple[Any, ...],
    outputs: tuple[Array | None, ...],
    options: dict[str, Any],
) -> tuple[tuple[np.dtype[Any], ...], object]:
    """The types of the loop by NumPy's own rules, and its description; raises what the call would raise."""
    if VALUE_BASED and any(np.ndim(given) == 0 for given in inputs):
        raise TypeError("NumPy 1 looks at the values of scalars, which are not known here")
    types = [given.dtype if isinstance(given, np.ndarray) else weak_type(given) for given in inputs]
    types += [None if output is None else output.dtype for output in outputs]
    rules: dict[str, Any] = {}
    if options.get("dtype") is not None:
        rules["signature"] = (None,) * ufunc.nin + (type(np.dtype(options["dtype"])),) * ufunc.nout
    if "casting" in options:
        rules["casting"] = options["casting"]
    return resolve_loop(ufunc, tuple(types), **rules)


def resolve_loop(
    ufunc: Any, types: tuple[Any, ...], **rules: Any
) -> tuple[tuple[np.dtype[Any], ...], object]:
    """The types a loop works on, and the capsule that describes it. NumPy annotates neither this..."""
    dtypes, call_info = ufunc._resolve_dtypes_and_context(types, **rules)
    return dtypes, call_info


def get_strided_loop(ufunc: Any, call_info: object, views: Sequence[Array]) -> None:
    """...nor this, which puts the loop for these strides into the capsule."""
    ufunc._get_strided_loop(call_info, fixed_strides=tuple(view.strides[-1] for view in views))


READ = ["readonly", "aligned", "overlap_assume_elementwise"]
WRITE = ["writeonly", "aligned", "overlap_assume_elementwise", "allocate", "no_broadcast", "no_subtype"]


def iterate(operands: Sequence[Array | None], inputs: int, dtypes: Sequence[Any], *, casting: str) -> Any:
    """The iterator that NumPy itself would use: it makes the outputs, and knows the order of the axes.

    Raises ValueError if shapes do not fit.
    """
    make: Any = np.nditer  # annotated for the more usual calls
    buffers = [] if casting == "no" else ["buffered", "delay_bufalloc"]
    return make(
        operands,
        flags=["external_loop", *buffers],
        op_flags=[READ] * inputs + [WRITE] * (len(operands) - inputs),
        op_dtypes=dtypes,
        order="K",
        casting=casting,
    )


def weak_type(scalar: bool | complex) -> Any:
    return np.dtype(bool) if type(scalar) is bool else type(scalar)


def loop_inputs(operands: Operands) -> list[Array]:
    """The arrays, and the scalars cast to the types of the loop.

    Raises, for NumPy to say it, if a scalar changes by being cast.
    """
    return [as_array(given, dtype) for given, dtype in zip(operands.inputs, operands.dtypes, strict=False)]


def as_array(given: Any, dtype: np.dtype[Any]) -> Array:
    """Raises, for NumPy to say it, if a scalar changes by being cast to the type of the loop."""
    if isinstance(given, np.ndarray) and given.ndim:
        return given
    if type(given) is int and abs(given) > EXACT and dtype.kind in "fc":
        raise OverflowError("rounded once or twice, on its way to the type of the loop")
    with np.errstate(all="raise"):
        return given.astype(dtype) if isinstance(given, np.ndarray) else np.array(given, dtype=dtype)


def needs_no_cast(given: Any, dtype: np.dtype[Any]) -> bool:
    if given is None or not isinstance(given, np.ndarray) or given.ndim == 0:
        return True  # is made as it is needed
    return given.dtype == dtype and given.flags.aligned and given.dtype.isnative


def warns_of_casts(
    inputs: tuple[Any, ...],
    outputs: tuple[Array | None, ...],
    where: Array | None,
    dtypes: tuple[np.dtype[Any], ...],
) -> bool:
    """Whether imaginary parts are thrown away, of which NumPy warns once for a call, not once for a piece."""
    casts = [(np.iscomplexobj(g), dtype.kind == "c") for g, dtype in zip(inputs, dtypes, strict=False)]
    for output, dtype in zip(outputs, dtypes[len(inputs) :], strict=True):
        if output is not None:
            casts.append((dtype.kind == "c", np.iscomplexobj(output)))
            if where is not None:  # what is masked is read, and written back
                casts.append((np.iscomplexobj(output), dtype.kind == "c"))
    return any(before and not after for before, after in casts)


# For which NumPy has loops of Intel's vector library, on CPUs with AVX512.
VECTOR_MATH = frozenset(
    (
        np.sin,
        np.cos,
        np.tan,
        np.arcsin,
        np.arccos,
        np.arctan,
        np.arctan2,
        np.sinh,
        np.cosh,
        np.tanh,
        np.arcsinh,
        np.arccosh,
        np.arctanh,
        np.exp,
        np.exp2,
        np.expm1,
        np.log,
        np.log2,
        np.log10,
        np.log1p,
        np.cbrt,
        np.power,
        np.float_power,
    )
)


def may_round_by_layout(ufunc: np.ufunc, dtypes: tuple[np.dtype[Any], ...]) -> bool:
    """Whether the last bit of an element may depend on where its neighbours lie.

    The vector library and what NumPy does where it does not fit round differently, and so do the loops of
    half precision on CPUs that compute with it: which of them an element meets is up to the strides.
    """
    chars = {dtype.char for dtype in dtypes}
    return "e" in chars or (ufunc in VECTOR_MATH and not chars.isdisjoint("fd"))


def is_in_one_run(operands: tuple[Any, ...]) -> bool:
    """Whether all arrays, but for scalars, are of one shape, and lie as one row."""
    arrays = [operand for operand in operands if isinstance(operand, np.ndarray) and operand.ndim > 0]
    return (
        len({array.shape for array in arrays}) == 1
        and (all(a.flags.c_contiguous for a in arrays) or all(a.flags.f_contiguous for a in arrays))
        and all(array.dtype.isnative and array.flags.aligned for array in arrays)
    )


def is_free_of_overlap(
    inputs: tuple[Any, ...], outputs: tuple[Array | None, ...], where: Array | None
) -> bool:
    """Whether elements can be computed in any order, because none is read after it may have been written."""
    given = [output for output in outputs if output is not None]
    others: list[Array] = [operand for operand in inputs if isinstance(operand, np.ndarray)]
    for i, output in enumerate(given):
        if overlaps_itself(output) or any(np.may_share_memory(output, other) for other in given[:i]):
            return False
        if where is not None and np.may_share_memory(output, where):
            return False
        for other in others:
            if not is_same(output, other) and may_share(output, other, max_work=1):
                return False
    return True


may_share: Any = np.may_share_memory  # takes more max_work than it is annotated for


def is_same(one: Array, other: Array) -> bool:
    return one is other or (
        one.ctypes.data == other.ctypes.data
        and one.shape == other.shape
        and one.strides == other.strides
        and one.dtype == other.dtype
    )


def overlaps_itself(array: Array) -> bool:
    """Whether two elements may have the same place: no when each stride steps over all that is inside it."""
    if array.flags.c_contiguous or array.flags.f_contiguous:
        return False
    inside = array.itemsize
    for stride, length in sorted(
        (abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1
    ):
        if stride < inside:
            return True
        inside += stride * (length - 1)
    return False
