"""Native kernels: functions that a pool runs over an iteration range without the GIL.

The other half of `loomy/kernel.h`. A kernel is made of whatever native function there is, and launched with
`kernel(*args)` or `pool.launch(kernel, *args)`. What reads functions needs ctypes, and is imported at its
first use.
"""

from __future__ import annotations

import operator
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loomy._loomy import Kernel, _kernel_shapes, _make_kernel, _read_kernel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from loomy._kernel_sources import Found

__all__ = ("Kernel", "KernelLibrary", "kernel", "load_kernels")

SHAPES = {
    "range": "int or void (intptr_t begin, intptr_t end, void *user)",
    "loop": "void (char **args, intptr_t const *dims, intptr_t const *steps, void *data), a loop of NumPy's",
    "element": "double (double), also with a second double, with a void * at the end, of floats, or "
    "double (int n, double *x)",
    "native": "int (loomy_call const *), from loomy/kernel.h",
}
SYMBOL_PREFIX = "loomy_kernel_"  # LOOMY_KERNEL_PREFIX of loomy/kernel.h


def kernel(
    obj: Any,
    *,
    signature: str | None = None,
    name: str | None = None,
    grain: int = 0,
    user_data: Any = None,
) -> Kernel:
    """Make a kernel of a native function.

    `obj` is a capsule "loomy.kernel.v1", an object with `__loomy_kernel__()`, a ctypes function of a shared
    library, a cffi function pointer, a numba cfunc, a capsule of a Cython module's `__pyx_capi__`, or a
    `scipy.LowLevelCallable` of one of these. A bare function has one of four shapes, told by how it is called
    and not by how its types are spelled:

    * range, `int|void (intptr_t begin, intptr_t end, void *user)`: does these items. Launched with `n=` and
      either no argument, then `user` is `user_data`, or one C-contiguous array or ctypes object, then `user`
      is its address. What it returns is a status of loomy/kernel.h, 0 for success.
    * NumPy loop, `void (char **args, intptr_t const *dims, intptr_t const *steps, void *data)`: takes arrays
      of one dimension and one length, and numbers, which have step 0; the last is written to. With a
      signature it takes what that says, and dimensions beside n are passed on as to the loop of a
      generalised ufunc; what is written has n as its first. `data` is `user_data`.
    * element-wise, `double (double)`, with one more double, with a `void *` at the end, of floats, or
      `double (int, double *)`, which has any number of inputs: input arrays or numbers, then the output, all
      arrays of one shape, which may be any. The `void *` is `user_data`.
    * native, `int (loomy_call const *)`: takes whatever arguments there are.

    Args:
        signature: what the arguments are, as in loomy/kernel.h ("x:f8[n] y:f8[n]! a:f8"), for the checks
            before each launch; or the function's C type ("int (intptr_t, intptr_t, void *)"), for a ctypes
            function without argtypes; or both, separated by a semicolon. A native kernel usually brings its
            own.
        name: what errors call it; that of the function if it has one.
        grain: fewest items in a chunk, unless a launch says how many chunks; 0 leaves it to the kernel and
            the pool.
        user_data: an address, or something that has one: an int, a capsule, a ctypes object or pointer, a
            cffi pointer. Kept alive with the kernel.

    A callback of ctypes or cffi that calls Python is refused, since each of its calls would take the GIL. One
    that cffi has cast to another type cannot be told from a C function.

    Raises `TypeError` for what is no native function, needs the GIL or has another C type, `ValueError` for a
    signature that cannot be read or an int that is no address.
    """
    from loomy._c_signature import read_declaration
    from loomy._kernel_sources import Source, address_of_data, find

    grain = _checked_grain(grain)
    for what, value in (("signature", signature), ("name", name)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{what} must be a str or None, not a {type(value).__qualname__}")
    c_type, arguments = _split(signature)
    if isinstance(obj, Kernel):  # what is not given stays as it is
        arguments = arguments if arguments is not None else obj.signature
        name, grain = name or obj.name, grain or obj.grain
    found = find(obj)
    if c_type is not None:
        found = _called_as(found, c_type, read_declaration(c_type))
    if user_data is not None:
        found = replace(found, user_data=address_of_data(user_data))
    about = None
    if found.abi == "":
        its_name, its_signature, about = _read_kernel(found.address)
        name = name or its_name
        arguments = arguments if arguments is not None else its_signature
    elif found.abi is None:
        raise TypeError(
            f"{found.spelled} does not say how it is called: set argtypes and restype, or pass its C type as "
            f"signature=\n{_shapes()}"
        )
    elif found.abi not in dict(_kernel_shapes()):
        raise TypeError(f'no kernel is called like "{found.spelled}", read as {found.abi}\n{_shapes()}')
    return _make_kernel(
        found.abi,
        found.address,
        name or found.name or "kernel",
        arguments,
        grain,
        found.user_data,
        about,
        Source(found, obj, user_data),
    )


def _called_as(found: Found, c_type: str, abi: str) -> Found:
    """With the C type that the caller says, which must be the one its owner says."""
    if found.abi is None:
        return replace(found, abi=abi, spelled=c_type)
    if found.abi == abi:
        return found
    raise TypeError(
        f'the function is "{found.spelled}", read as {found.abi or "a loomy_kernel"}, and not "{c_type}", '
        f"read as {abi}"
    )


def _checked_grain(grain: int) -> int:
    try:
        value = operator.index(grain)
    except TypeError:
        raise TypeError(f"grain must be an int, not a {type(grain).__qualname__}") from None
    if not 0 <= value < 2**61:
        raise ValueError(f"grain must be between 0 and {2**61 - 1}, not {value}")
    return value


def _split(signature: str | None) -> tuple[str | None, str | None]:
    """The C type and the arguments, either of which may be missing."""
    if signature is None:
        return None, None
    first, semicolon, rest = signature.partition(";")
    if "(" in first:
        return first, rest.strip() if semicolon and rest.strip() else None
    if semicolon:
        raise ValueError(f'signature "{signature}": before the semicolon stands a C type, "int (...)"')
    return None, signature


def _shapes() -> str:
    lines = [f"  {shape}: {text}" for shape, text in SHAPES.items()]
    called = ", ".join(abi for abi, _ in _kernel_shapes())
    return "\n".join(["A kernel's function is one of", *lines, f"that is, it reads as one of {called}"])


class KernelLibrary:
    """The kernels of a shared library: `library.saxpy`, `library["saxpy"]`; iterating gives their names."""

    __module__ = "loomy"
    __slots__ = ("_kernels", "_path")

    def __init__(self, path: str, kernels: dict[str, Kernel]) -> None:
        self._path = path
        self._kernels = kernels

    def __getattr__(self, name: str) -> Kernel:
        if name in KernelLibrary.__slots__:  # while a copy is being made, which does not call __init__
            raise AttributeError(name, name=name, obj=self)
        try:
            return self._kernels[name]
        except KeyError:
            raise AttributeError(
                f"{self._path} has no kernel {name!r}, only {', '.join(self._kernels)}", name=name, obj=self
            ) from None

    def __getitem__(self, name: str) -> Kernel:
        return self._kernels[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kernels)

    def __len__(self) -> int:
        return len(self._kernels)

    def __contains__(self, name: object) -> bool:
        return name in self._kernels

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._kernels]

    def __repr__(self) -> str:
        return f"<loomy.KernelLibrary {self._path!r}: {', '.join(self._kernels)}>"


def load_kernels(path: str | os.PathLike[str], *, names: Iterable[str] | None = None) -> KernelLibrary:
    """Load a shared library and make a kernel of each function `const loomy_kernel *loomy_kernel_NAME(void)`.

    Nothing in it needs to know Python. `names` are those to look for, without the prefix; by default all that
    the library exports, which is read from the file and so works on ELF systems (Linux, the BSDs); elsewhere
    give `names`. The library is never unloaded.

    Raises `OSError` if it cannot be loaded, `ValueError` if there is no such function in it, or a kernel
    cannot be used, `NotImplementedError` if `names` are needed, `TypeError` if they are one str.
    """
    import ctypes

    if isinstance(names, str):
        raise TypeError(f"names must be a list of names, not the str {names!r}")
    where = os.fspath(path)
    if os.path.dirname(where) == "" and os.path.exists(where):
        where = os.path.join(os.curdir, where)  # or the system would look for it elsewhere
    library = ctypes.CDLL(where)
    found = list(names) if names is not None else _kernels_in(where)
    if not found:
        raise ValueError(
            f"{where} exports no {SYMBOL_PREFIX}NAME functions; LOOMY_EXPORT, or LOOMY_KERNEL of "
            "loomy/kernel.hpp, makes them visible"
        )
    return KernelLibrary(where, {name: _from_symbol(library, name) for name in found})


def _kernels_in(path: str) -> list[str]:
    if os.name != "posix" or os.uname().sysname == "Darwin":
        raise NotImplementedError(
            "the kernels of a library can be listed on systems with ELF files only; here call "
            "load_kernels(path, names=[...])"
        )
    from loomy._elf import exported_functions

    if not os.path.exists(path):
        raise ValueError(
            f"the system finds the library {path}, but its file is not there: give its path, or names="
        )
    names = (name for name in exported_functions(path) if name.startswith(SYMBOL_PREFIX))
    return [name[len(SYMBOL_PREFIX) :] for name in names]


def _from_symbol(library: Any, name: str) -> Kernel:
    import ctypes

    from loomy._kernel_sources import Found

    try:
        get = library[SYMBOL_PREFIX + name]
    except AttributeError:
        raise ValueError(f"{library._name} exports no {SYMBOL_PREFIX}{name}") from None
    get.argtypes = ()
    get.restype = ctypes.c_void_p
    address = get()
    if not address:
        raise ValueError(f"{SYMBOL_PREFIX}{name}() of {library._name} returned a null pointer")
    return kernel(_Symbol(Found(address, "", name, SYMBOL_PREFIX + name), library))


class _Symbol:
    """A kernel that a library has under a name; keeps the library loaded."""

    __slots__ = ("_found", "_library")

    def __init__(self, found: Found, library: Any) -> None:
        self._found = found
        self._library = library

    def __loomy_kernel__(self) -> Found:
        return self._found

    def __repr__(self) -> str:
        return f"<{self._found.spelled} of {self._library._name}>"
