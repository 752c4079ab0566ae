"""Where native functions come from: each kind of object that has one, read to an address and a C type."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass, replace
from typing import Any

from loomy._c_signature import abi_of, read_declaration
from loomy._loomy import Kernel, _read_capsule

__all__ = ("Found", "Source", "address_of_data", "find")

KERNEL_CAPSULE = "loomy.kernel.v1"  # LOOMY_KERNEL_CAPSULE


@dataclass(frozen=True)
class Found:
    """A native function, or a `loomy_kernel` where `abi` is empty. `abi` is None where nobody says."""

    address: int
    abi: str | None
    name: str | None
    spelled: str  # its type as its owner writes it
    user_data: int = 0


def find(obj: Any, depth: int = 0) -> Found:
    """Raises `TypeError` with the reason if there is none, or it would need the GIL for each call."""
    if depth > 8:
        raise TypeError("__loomy_kernel__() goes in circles")
    if isinstance(obj, Found):
        return obj
    if isinstance(obj, Kernel):
        return find(obj._source, depth + 1)
    maker = getattr(type(obj), "__loomy_kernel__", None)
    if maker is not None:
        return find(maker(obj), depth + 1)
    for kind in (_capsule, _low_level_callable, _ctypes, _numba, _cffi):
        found = kind(obj, depth)
        if found is not None:
            return found
    raise TypeError(
        f"no kernel can be made of {_kind(obj)}: it takes a capsule {KERNEL_CAPSULE!r}, an object with "
        "__loomy_kernel__(), a ctypes function of a shared library, a cffi function pointer, a numba cfunc, "
        "a capsule from a Cython module's __pyx_capi__, or a scipy.LowLevelCallable"
    )


def _kind(obj: object) -> str:
    return f"a {type(obj).__qualname__}"


def _capsule(obj: Any, depth: int) -> Found | None:
    if type(obj).__name__ != "PyCapsule":
        return None
    name, address, context = _read_capsule(obj)
    if name == KERNEL_CAPSULE:
        return Found(address, "", None, KERNEL_CAPSULE, context)
    if name is None or "(" not in name:
        raise TypeError(
            f"the capsule is called {name!r}: a kernel's is called {KERNEL_CAPSULE!r}, and a C function's as "
            'its type, like "double (double)"'
        )
    return Found(address, _declared(name), None, name, context)


def _declared(text: str) -> str:
    try:
        return read_declaration(text)
    except ValueError as error:
        raise TypeError(str(error)) from None


def _low_level_callable(obj: Any, depth: int) -> Found | None:
    scipy = sys.modules.get("scipy._lib._ccallback")
    if scipy is None or not isinstance(obj, scipy.LowLevelCallable):
        return None
    found = find(obj.function, depth + 1)
    if obj.user_data is not None:
        found = replace(found, user_data=address_of_data(obj.user_data))
    return found


class Source:
    """What a kernel was made of, kept alive, and what that was read to: another kernel can be made of it."""

    __slots__ = ("_found", "_kept")

    def __init__(self, found: Found, *kept: Any) -> None:
        self._found = found
        self._kept = kept

    def __loomy_kernel__(self) -> Found:
        return self._found

    def __repr__(self) -> str:
        return f"<source of a kernel: {self._kept[0]!r}>"


# ctypes


def _ctypes(obj: Any, depth: int) -> Found | None:
    if not isinstance(obj, ctypes._CFuncPtr):  # type: ignore[attr-defined]
        return None
    for one in _made_of(obj):
        if type(one).__name__ == "CThunkObject":
            raise TypeError(
                "this ctypes function calls Python, so each call would take the GIL, one at a time; pass a "
                "function of a shared library, or compile it (numba.cfunc)"
            )
        if getattr(type(one), "_flags_", 0) & ctypes._FUNCFLAG_PYTHONAPI:  # type: ignore[attr-defined]
            raise TypeError(
                "this ctypes function (of ctypes.pythonapi, a PyDLL or a PYFUNCTYPE) expects its caller to "
                "have the GIL, which chunks run without; if it needs nothing of Python, load it with "
                "ctypes.CDLL"
            )
    address = ctypes.cast(obj, ctypes.c_void_p).value
    if not address:
        raise TypeError("this ctypes function is a null pointer")
    name = getattr(obj, "__name__", None)
    if obj.argtypes is None:
        return Found(address, None, name, "a ctypes function without argtypes")
    result = "v" if obj.restype is None else _ctypes_class(obj.restype)
    spelled = f"{_ctypes_name(obj.restype)} ({', '.join(_ctypes_name(one) for one in obj.argtypes)})"
    return Found(address, abi_of(result, [_ctypes_class(one) for one in obj.argtypes]), name, spelled)


def _made_of(obj: Any) -> list[Any]:
    """Itself and what it was cast from, with the thunk that a callback made of a Python function keeps."""
    seen = [obj]
    for one in seen:
        kept = _kept_for(one)
        for part in list(kept.values()) if isinstance(kept, dict) else [kept]:
            is_pointer = isinstance(part, (ctypes._CFuncPtr, ctypes._SimpleCData, ctypes._Pointer))  # type: ignore[attr-defined]
            if len(seen) < 16 and (is_pointer or type(part).__name__ == "CThunkObject"):
                seen.append(part)
    return seen


def _kept_for(obj: Any) -> Any:
    """What ctypes keeps alive for it; of a part, what the whole keeps for the places on the way to it."""
    places = []
    while (whole := getattr(obj, "_b_base_", None)) is not None:
        if isinstance(whole, ctypes._Pointer):
            kept = whole._objects  # of what it points to, as "0"
            return kept.get("0") if isinstance(kept, dict) else kept
        places.append(f"{_place_in(whole, ctypes.addressof(obj) - ctypes.addressof(whole)):x}")
        obj = whole
    kept = getattr(obj, "_objects", None)
    return kept.get(":".join(places)) if places and isinstance(kept, dict) else kept


def _place_in(whole: Any, offset: int) -> int:
    if isinstance(whole, ctypes.Array):
        return offset // ctypes.sizeof(whole._type_)
    fields = [field for kind in reversed(type(whole).__mro__) for field in vars(kind).get("_fields_", ())]
    return next(
        place for place, field in enumerate(fields) if getattr(type(whole), field[0]).offset == offset
    )


def _ctypes_class(kind: Any) -> str:
    code = getattr(kind, "_type_", None)
    if isinstance(kind, type) and issubclass(kind, ctypes._SimpleCData) and isinstance(code, str):
        if code in "PzZO":
            return "p"
        return ("f" if code in "fdg" else "i") + str(ctypes.sizeof(kind))
    if isinstance(kind, type) and issubclass(kind, (ctypes._Pointer, ctypes._CFuncPtr, ctypes.Array)):  # type: ignore[attr-defined]
        return "p"
    if hasattr(kind, "from_param"):  # numpy.ctypeslib.ndpointer and its like pass a pointer
        return (
            "p"
            if not (isinstance(kind, type) and issubclass(kind, (ctypes.Structure, ctypes.Union)))
            else "s"
        )
    return "s"


def _ctypes_name(kind: Any) -> str:
    return "void" if kind is None else str(getattr(kind, "__name__", kind))


# numba


def _numba(obj: Any, depth: int) -> Found | None:
    numba = sys.modules.get("numba.core.ccallback")
    if numba is None or not isinstance(obj, numba.CFunc):
        return None
    signature = obj._sig
    result = _numba_class(signature.return_type)
    return Found(
        obj.address,
        abi_of(result, [_numba_class(one) for one in signature.args]),
        obj.__name__,
        f"{signature.return_type}({', '.join(map(str, signature.args))})",
    )


def _numba_class(kind: Any) -> str:
    types: Any = sys.modules["numba.core.types"]
    if isinstance(kind, types.NoneType):
        return "v"
    if isinstance(kind, types.Boolean):
        return "i1"
    if isinstance(kind, (types.Integer, types.Float)):
        return ("f" if isinstance(kind, types.Float) else "i") + str(kind.bitwidth // 8)
    if isinstance(kind, (types.CPointer, types.RawPointer, types.ExternalFunctionPointer)):
        return "p"
    return "s"


# cffi


def _cffi(obj: Any, depth: int) -> Found | None:
    cffi: Any = sys.modules.get("_cffi_backend")
    if cffi is None:
        return None
    if not isinstance(obj, cffi._CDataBase):
        if (
            type(obj).__name__ == "builtin_function_or_method"
            and type(obj.__self__).__name__ == "CompiledLib"
        ):
            raise TypeError(
                f"{obj.__name__} is a Python function that calls C: pass the pointer, "
                f"ffi.addressof(lib, {obj.__name__!r})"
            )
        return None
    kind = cffi.typeof(obj)
    if kind.kind == "pointer" and kind.item.kind == "function":
        kind = kind.item
    if kind.kind != "function":
        raise TypeError(f"this cffi object is a {kind.cname}, not a pointer to a function")
    if " calling <" in repr(obj):
        raise TypeError(
            "this cffi callback calls Python, so each call would take the GIL, one at a time; pass a pointer "
            "to a C function"
        )
    address = int(cffi.cast(cffi.new_primitive_type("intptr_t"), obj))
    if address == 0:
        raise TypeError("this cffi function pointer is null")
    parameters = [_cffi_class(cffi, one) for one in kind.args]
    return Found(address, abi_of(_cffi_class(cffi, kind.result), parameters), None, kind.cname)


def _cffi_class(cffi: Any, kind: Any) -> str:
    if kind.kind == "void":
        return "v"
    if kind.kind in ("pointer", "function", "array"):
        return "p"
    if kind.kind == "enum":
        return f"i{cffi.sizeof(kind)}"
    if kind.kind == "primitive" and "complex" in kind.cname.lower():
        return f"c{cffi.sizeof(kind)}"
    if kind.kind == "primitive":
        return ("f" if kind.cname in ("float", "double", "long double") else "i") + str(cffi.sizeof(kind))
    return "s"


# User data


def address_of_data(obj: Any) -> int:
    """The address that `user_data` stands for; whoever has it keeps the object alive."""
    if obj is None:
        return 0
    if isinstance(obj, int):
        if not 0 <= obj < 1 << 8 * ctypes.sizeof(ctypes.c_void_p):
            raise ValueError(f"user_data is no address: {obj:#x}")
        return int(obj)
    if type(obj).__name__ == "PyCapsule":
        return _read_capsule(obj)[1]
    if isinstance(obj, (ctypes.c_void_p, ctypes.c_char_p, ctypes._Pointer)):
        return ctypes.cast(obj, ctypes.c_void_p).value or 0
    if isinstance(obj, (ctypes.Structure, ctypes.Union, ctypes.Array, ctypes._SimpleCData)):
        return ctypes.addressof(obj)
    cffi: Any = sys.modules.get("_cffi_backend")
    if cffi is not None and isinstance(obj, cffi._CDataBase):
        if cffi.typeof(obj).kind not in ("pointer", "array", "function"):
            raise TypeError(f"user_data is the cffi value {obj!r}; pass a pointer to it")
        return int(cffi.cast(cffi.new_primitive_type("intptr_t"), obj))
    raise TypeError(
        "user_data must be an address: an int, a capsule, a ctypes object or pointer, or a cffi pointer, "
        f"not {_kind(obj)}"
    )
