"""What kernels are made of: signatures are compared by how they are called, not by how they are spelled."""

from __future__ import annotations

import copy
import ctypes
import functools
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

np: Any = pytest.importorskip("numpy")

from kernel_tools import CC, NO_COMPILER, SOURCES, compiled, kernels, library, plain  # noqa: E402

import loomy  # noqa: E402

pytestmark = [
    pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER)),
    pytest.mark.timeout(180),  # numba and Cython compile
]

INTEGERS = ("long", "intptr_t", "int64_t", "Py_ssize_t")


class Fill(ctypes.Structure):
    """What the range functions here get: out[i] = i + add."""

    _fields_ = (("out", ctypes.c_void_p), ("add", ctypes.c_int64))


# The function `fill` of each maker has the type int (INTEGER, INTEGER, void *), in that maker's own spelling.


def fill_of_ctypes(integer: str) -> Any:
    types: dict[str, Any] = {
        "long": ctypes.c_long,
        "intptr_t": ctypes.c_ssize_t,
        "int64_t": ctypes.c_int64,
        "Py_ssize_t": ctypes.c_ssize_t,
    }
    function = ctypes.CDLL(str(library("plain.c"))).fill_range  # one of its own: argtypes stay with it
    function.argtypes = (types[integer], types[integer], ctypes.c_void_p)
    function.restype = ctypes.c_int
    return function


def fill_of_cffi(integer: str) -> Any:
    cffi = pytest.importorskip("cffi")
    ffi = cffi.FFI()
    spelled = {"Py_ssize_t": "ssize_t"}.get(integer, integer)
    ffi.cdef(f"int fill_range({spelled} begin, {spelled} end, void *user);")
    return ffi.dlopen(str(library("plain.c"))).fill_range


@functools.cache
def numba_fill(integer: str) -> Any:
    numba: Any = pytest.importorskip("numba")
    types = {
        "long": numba.types.long_,
        "intptr_t": numba.types.intp,
        "int64_t": numba.types.int64,
        "Py_ssize_t": numba.types.ssize_t,
    }
    kind = types[integer]

    def fill(begin: Any, end: Any, user: Any) -> Any:
        totals = numba.carray(user, 2)
        for i in range(begin, end):
            totals[1] += i
        return 0

    return numba.cfunc(numba.types.int32(kind, kind, numba.types.CPointer(numba.types.int64)))(fill)


CYTHON = """
# cython: language_level=3, boundscheck=False, wraparound=False
from libc.stdint cimport int64_t, intptr_t

cdef struct Fill:
    int64_t *out
    int64_t add

cdef api int fill_long(long begin, long end, void *user) noexcept nogil:
    return fill_Py_ssize_t(begin, end, user)

cdef api int fill_intptr_t(intptr_t begin, intptr_t end, void *user) noexcept nogil:
    return fill_Py_ssize_t(begin, end, user)

cdef api int fill_int64_t(int64_t begin, int64_t end, void *user) noexcept nogil:
    return fill_Py_ssize_t(begin, end, user)

cdef api int fill_Py_ssize_t(Py_ssize_t begin, Py_ssize_t end, void *user) noexcept nogil:
    cdef Fill *what = <Fill *>user
    cdef Py_ssize_t i
    for i in range(begin, end):
        what.out[i] = i + what.add
    return 0

cdef api double square(double x) noexcept nogil:
    return x * x

cdef api double scaled(double x, const void *user) noexcept nogil:
    return x * (<const double *>user)[0]

cdef api void twice(char **args, const Py_ssize_t *dims, const Py_ssize_t *steps, void *data) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(dims[0]):
        (<double *>(args[1] + i * steps[1]))[0] = 2 * (<double *>(args[0] + i * steps[0]))[0]

cdef api int fails(Py_ssize_t begin, Py_ssize_t end, void *user) except -1 nogil:
    if begin <= 5 < end:
        with gil:
            raise KeyError("from Cython")
    return 0

# Functions that return no status: an exception is all that tells.
cdef api void raises_range(Py_ssize_t begin, Py_ssize_t end, void *user) nogil:
    if begin <= 5 < end:
        with gil:
            raise KeyError("from Cython")

cdef api double raises_element(double x) nogil:
    if x >= 5:
        with gil:
            raise KeyError(f"from Cython: {x:g}")
    return x

cdef api void raises_loop(char **args, const Py_ssize_t *dims, const Py_ssize_t *steps, void *data) nogil:
    with gil:
        raise KeyError("from Cython")

cdef api int interrupted(Py_ssize_t begin, Py_ssize_t end, void *user) except -1 with gil:
    import signal
    import threading
    if threading.current_thread() is threading.main_thread():
        signal.raise_signal(signal.SIGINT)
    return 0
"""


@functools.cache
def cython_module() -> ModuleType:
    pytest.importorskip("Cython")
    import sysconfig

    folder = Path(tempfile.mkdtemp(prefix="loomy-cython-"))
    source = folder / "cykernels.pyx"
    source.write_text(CYTHON)
    command = [sys.executable, "-m", "cython", "-3", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    built = folder / "cykernels.so"
    include = sysconfig.get_paths()["include"]
    command = [
        str(CC),
        "-O1",
        "-shared",
        "-fPIC",
        "-w",
        f"-I{include}",
        "-o",
        str(built),
        str(folder / "cykernels.c"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    spec = importlib.util.spec_from_file_location("cykernels", built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill_of_cython(integer: str) -> Any:
    return vars(cython_module())["__pyx_capi__"][f"fill_{integer}"]


def low_level_callable(of: Callable[[str], Any]) -> Callable[[str], Any]:
    def fill(integer: str) -> Any:
        scipy: Any = pytest.importorskip("scipy")
        return scipy.LowLevelCallable(of(integer))

    return fill


MAKERS: dict[str, Callable[[str], Any]] = {
    "ctypes": fill_of_ctypes,
    "cffi": fill_of_cffi,
    "Cython": fill_of_cython,
}
MAKERS |= {f"LowLevelCallable of {maker}": low_level_callable(of) for maker, of in MAKERS.items()}


@pytest.mark.parametrize("integer", INTEGERS)
@pytest.mark.parametrize("maker", MAKERS)
def test_09_signature_matrix(maker: str, integer: str) -> None:
    kernel = loomy.kernel(MAKERS[maker](integer))
    assert kernel.shape == "range"
    out = np.full(1000, -1)
    kernel(Fill(out.ctypes.data, 3), n=1000)
    assert (out == np.arange(1000) + 3).all()


@pytest.mark.parametrize("integer", INTEGERS)
def test_09_signature_matrix_of_numba(integer: str) -> None:
    kernel = loomy.kernel(numba_fill(integer))
    assert kernel.shape == "range"
    totals = np.zeros(2, np.int64)
    kernel(totals, n=1000, chunks=1)
    assert totals.tolist() == [0, 999 * 500]


def test_scipy_callables_of_every_kind_have_user_data() -> None:
    scipy: Any = pytest.importorskip("scipy")
    cffi: Any = pytest.importorskip("cffi")
    factor = ctypes.c_double(3)
    plain().scaled.argtypes = (ctypes.c_double, ctypes.c_void_p)
    plain().scaled.restype = ctypes.c_double
    pointer = ctypes.cast(ctypes.pointer(factor), ctypes.c_void_p)
    ffi = cffi.FFI()
    ffi.cdef("double scaled(double x, void *user);")
    number = ffi.new("double *", 3.0)
    callables = [
        scipy.LowLevelCallable(plain().scaled, pointer),
        scipy.LowLevelCallable(ffi.dlopen(str(library("plain.c"))).scaled, ffi.cast("void *", number)),
        scipy.LowLevelCallable(vars(cython_module())["__pyx_capi__"]["scaled"], pointer),
    ]
    for callable_ in callables:
        out = np.zeros(10)
        loomy.kernel(callable_)(np.arange(10.0), out)
        assert (out == 3 * np.arange(10.0)).all()


def test_numba_functions_of_single_elements_and_loops() -> None:
    numba: Any = pytest.importorskip("numba")

    def hypotenuse(x: Any, y: Any) -> Any:
        return (x * x + y * y) ** 0.5

    def loop(args: Any, dims: Any, steps: Any, data: Any) -> None:
        out = numba.carray(args[0], dims[0], numba.float64)
        for i in range(dims[0]):
            out[i] = 5.0

    x, y, out = np.arange(10.0), np.ones(10), np.zeros(10)
    kernel = loomy.kernel(numba.cfunc("float64(float64, float64)")(hypotenuse))
    assert (kernel.name, kernel.shape) == ("hypotenuse", "element")
    kernel(x, y, out)
    assert np.allclose(out, np.hypot(x, y))
    pointers = "void(CPointer(voidptr), CPointer(intp), CPointer(intp), voidptr)"
    loomy.kernel(numba.cfunc(pointers)(loop))(out)
    assert (out == 5).all()


def test_cython_functions_of_each_shape() -> None:
    functions = vars(cython_module())["__pyx_capi__"]
    x, out = np.arange(10.0), np.zeros(10)
    loomy.kernel(functions["square"])(x, out)
    assert (out == x * x).all()
    loomy.kernel(functions["twice"])(x, out)
    assert (out == 2 * x).all()
    loomy.kernel(functions["scaled"], user_data=ctypes.c_double(7))(x, out)
    assert (out == 7 * x).all()


def test_an_exception_of_a_cython_function_is_the_launchs() -> None:
    kernel = loomy.kernel(vars(cython_module())["__pyx_capi__"]["fails"], name="fails")
    with pytest.raises(KeyError, match="from Cython") as caught:
        kernel(n=10)
    assert "in kernel 'fails'" in caught.value.__notes__[0]
    with loomy.Pool(int, size=2) as pool:
        with pytest.raises(KeyError, match="from Cython"):
            pool.launch(kernel, n=10).result(20)
        assert pool.launch(kernel, n=3).result(20) is None


@pytest.mark.parametrize("shape", ["range", "element", "loop"])
def test_an_exception_of_a_cython_function_that_returns_no_status_is_the_launchs(shape: str) -> None:
    kernel = loomy.kernel(vars(cython_module())["__pyx_capi__"][f"raises_{shape}"])
    arguments = () if shape == "range" else (np.arange(10.0), np.zeros(10))
    # The first of them: none is called once one has raised.
    message = "from Cython: 5'" if shape == "element" else "from Cython"
    with loomy.Pool(int, size=1) as pool:
        for _ in range(3):
            with pytest.raises(KeyError, match=message):
                pool.launch(kernel, *arguments, n=10, chunks=1).result(20)
            assert pool.process(3) == 3  # nothing of it is left on the thread


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_in_python_that_a_chunk_of_the_caller_runs_is_raised_as_it_is() -> None:
    kernel = loomy.kernel(vars(cython_module())["__pyx_capi__"]["interrupted"])

    def call_on_a_worker() -> None:  # which has no signals, and shows that a chunk is short
        loomy.default_pool().launch(kernel, n=1).result(20)

    for _ in range(3):
        call_on_a_worker()
    with pytest.raises(KeyboardInterrupt):
        kernel(n=1)


ELEMENT: list[tuple[str, str, int, Any]] = [
    ("square", "double (double)", 1, lambda x: x * x),
    ("square_float", "float (float)", 1, lambda x: x * x),
    ("add", "double (double, double)", 2, lambda x, y: x + y),
    ("add_float", "float (float, float)", 2, lambda x, y: x + y),
    ("scaled", "double (double, void *)", 1, lambda x: 3 * x),
    ("scaled_float", "float (float, void *)", 1, lambda x: 3 * x),
    ("scaled_sum", "double (double, double, void *)", 2, lambda x, y: 3 * (x + y)),
    ("sum_of", "double (int, double *)", 3, lambda x, y, z: x + y + z),
    ("scaled_sum_of", "double (int, double *, void *)", 4, lambda x, y, z, w: 3 * (x + y + z + w)),
]


@pytest.mark.parametrize("shape", [(7,), (3, 5), (4, 3, 2), (), (0,), (2, 0, 3), (300, 7)])
@pytest.mark.parametrize(("name", "c_type", "inputs", "reference"), ELEMENT, ids=[row[0] for row in ELEMENT])
def test_functions_of_single_elements(
    name: str, c_type: str, inputs: int, reference: Any, shape: tuple[int, ...]
) -> None:
    kernel = loomy.kernel(getattr(plain(), name), signature=c_type, user_data=ctypes.c_double(3))
    dtype = np.float32 if "float" in c_type else np.float64
    random = np.random.default_rng(len(shape))
    arrays = [random.integers(-9, 9, shape).astype(dtype) for _ in range(inputs)]
    layouts: list[Any] = [
        arrays,
        [np.array(a, order="F") for a in arrays],
        [np.repeat(a, 2, -1)[..., ::2] if a.ndim else a for a in arrays],
        [*arrays[:-1], 2.0],  # a number for the last input
    ]
    for given in layouts:
        for order in ("C", "F"):
            out = np.full(shape, -1, dtype, order=order)
            kernel(*given, out)
            assert (out == reference(*given)).all()
    out = arrays[0].copy()
    kernel(out, *arrays[1:], out)  # in place
    assert (out == reference(*arrays)).all()


def test_functions_of_single_elements_take_numbers_of_numpys() -> None:
    kernel = loomy.kernel(plain().add, signature="double (double, double)")
    x, out = np.arange(4.0), np.zeros(4)
    for number in (
        np.float32(0.5),
        np.int64(-2),
        np.uint8(7),
        np.bool_(True),
        np.float64(1.5),
        np.float16(2),
    ):
        kernel(x, number, out)
        assert (out == x + float(number)).all()
    for wrong in (np.complex64(1), np.timedelta64(3, "s"), np.str_("3")):
        with pytest.raises((TypeError, ValueError), match="argument 2"):
            kernel(x, wrong, out)


def test_functions_of_single_elements_check_their_arguments() -> None:
    kernel = loomy.kernel(plain().add, signature="double (double, double)", name="add")
    x, out = np.zeros((3, 4)), np.zeros((3, 4))
    for given, error, message in [
        ((x, out), TypeError, "takes 3 arguments, got 2"),
        ((x, x, x, out), TypeError, "takes 3 arguments, got 4"),
        ((x, x.astype("f4"), out), TypeError, "argument 2 has elements of f4"),
        ((x, x, 1.0), TypeError, "argument 3 must be an array"),
        ((x, "1", out), TypeError, "argument 2 must be an array"),
        ((x, x.T, out), ValueError, "argument 2 has length 4 in dimension 0, but the output has 3"),
        ((x, x[0], out), ValueError, "argument 2 has 1 dimensions, but the output has 2"),
        ((x, x, np.broadcast_to(1.0, (3, 4))), BufferError, "argument 3 is written to"),
        ((x, out[::-1], out), ValueError, "argument 3 is written to, but shares memory with argument 2"),
        ((x, out.reshape(-1)[1:11], out.reshape(-1)[:10]), ValueError, "dimension"),
    ]:
        with pytest.raises(error, match=message):
            kernel(*given)
    any_number = loomy.kernel(plain().sum_of, signature="double (int, double *)")
    with pytest.raises(TypeError, match="at least 2 arguments, got 1"):
        any_number(out)
    with pytest.raises(TypeError, match="at most 32 arguments, got 33"):
        any_number(*[out] * 33)


LOOP = "void (char **, intptr_t *, intptr_t *, void *)"


def test_numpy_loops_take_arrays_and_numbers() -> None:
    kernel = loomy.kernel(plain().multiply_loop, signature=LOOP)
    x, y, out = np.arange(1000.0), np.arange(2000.0)[::-2], np.zeros(1000)
    kernel(x, y, out)
    assert (out == x * y).all()
    kernel(x, 2.5, out)
    assert (out == 2.5 * x).all()
    kernel(out, out, out)
    assert (out == (2.5 * x) ** 2).all()
    for given, error, message in [
        ((x, y[:5], out), ValueError, "argument 2 has length 5, but argument 1 has 1000"),
        ((x, y, out.reshape(10, 100)), ValueError, "argument 3 has 2 dimensions"),
        ((x, out[1:], out[:-1]), ValueError, "argument 2 has length 999"),
        ((out[1:], 1.0, out[:-1]), ValueError, "argument 3 is written to, but shares memory with argument 1"),
        ((x, y, 1.0), TypeError, "argument 3 must be an array"),
    ]:
        with pytest.raises(error, match=message):
            kernel(*given)


def test_numpy_loops_with_a_signature_get_its_other_dimensions() -> None:
    kernel = loomy.kernel(plain().row_dot_loop, signature=f"{LOOP}; a:f8[n,k] w:f8[k] out:f8[n]!")
    random = np.random.default_rng(5)
    a, w = random.random((500, 7)), random.random(7)
    out = np.zeros(500)
    for matrix in (a, np.asfortranarray(a), a[::-1]):
        kernel(matrix, w[::-1], out)
        assert np.allclose(out, matrix @ w[::-1])
    with pytest.raises(ValueError, match="argument 'w' has length 6 in dimension 0, but argument 'a' has 7"):
        kernel(a, w[:6], out)


def test_range_functions_take_user_data_or_one_block() -> None:
    c_type = "int (intptr_t, intptr_t, void *)"
    out = np.full(100, -1)
    data = Fill(out.ctypes.data, 5)
    address = ctypes.addressof(data)
    for user_data in (data, address, ctypes.pointer(data), ctypes.c_void_p(address)):
        out[:] = -1
        loomy.kernel(plain().fill_range, signature=c_type, user_data=user_data)(n=100)
        assert (out == np.arange(100) + 5).all()
    kernel = loomy.kernel(plain().fill_range, signature=c_type)
    kernel(data, n=100)
    for given, error, message in [
        ((data, data), TypeError, "at most 1 argument, got 2"),
        ((bytes(16),), BufferError, "argument 1 is read-only"),
        ((np.zeros(20)[::2],), ValueError, "argument 1 must be one block"),
        ((1,), TypeError, "argument 1 must be an array"),
    ]:
        with pytest.raises(error, match=message):
            kernel(*given, n=100)
    with pytest.raises(TypeError, match="needs n="):
        kernel(data)
    void = loomy.kernel(plain().fill_range_void, signature="void (intptr_t, intptr_t, void *)")
    void(data, n=100)
    with pytest.raises(TypeError, match=r"user_data must be an address.*not a str"):
        loomy.kernel(plain().fill_range, signature=c_type, user_data="here")
    for number in (2**64, 2**64 + 5, -1, 10**30):
        with pytest.raises(ValueError, match="user_data is no address"):
            loomy.kernel(plain().fill_range, signature=c_type, user_data=number)


# What is refused.


def test_a_ctypes_python_callback_is_refused_with_the_reason() -> None:
    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
    callback = kind(lambda x: x)
    for obj in (
        callback,
        ctypes.cast(callback, kind),
        ctypes.cast(ctypes.cast(callback, ctypes.c_void_p), kind),
    ):
        with pytest.raises(TypeError, match="calls Python, so each call would take the GIL"):
            loomy.kernel(obj)


def test_a_ctypes_python_callback_inside_something_is_refused_and_what_is_beside_it_is_not() -> None:
    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)

    class Two(ctypes.Structure):
        _fields_ = (("native", kind), ("python", kind))

    class Outer(ctypes.Structure):
        _fields_ = (("number", ctypes.c_int), ("two", Two))

    callback, square = kind(lambda x: x), ctypes.cast(plain().square, kind)
    two, array = Two(square, callback), (kind * 2)(square, callback)
    outer = Outer(1)
    outer.two.native, outer.two.python = square, callback
    for obj in (two.python, array[1], outer.two.python, ctypes.pointer(callback).contents):
        with pytest.raises(TypeError, match="calls Python, so each call would take the GIL"):
            loomy.kernel(obj)
    for obj in (two.native, array[0], outer.two.native, ctypes.pointer(square).contents):
        assert loomy.kernel(obj).shape == "element"


def test_a_ctypes_function_that_needs_the_gil_is_refused_with_the_reason() -> None:
    kind = ctypes.PYFUNCTYPE(ctypes.c_double, ctypes.c_double)
    of_library = ctypes.PyDLL(str(library("plain.c"))).square
    of_library.argtypes, of_library.restype = (ctypes.c_double,), ctypes.c_double
    of_python = ctypes.PyDLL(None).PyErr_BadArgument
    of_python.argtypes, of_python.restype = (ctypes.c_void_p,), ctypes.c_int
    square = ctypes.CDLL(str(library("plain.c"))).square
    for obj in (
        of_library,
        of_python,
        ctypes.cast(square, kind),
        ctypes.cast(of_library, ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)),
    ):
        with pytest.raises(TypeError, match=r"expects its caller to have the GIL, .* ctypes\.CDLL"):
            loomy.kernel(obj)
    as_plain = ctypes.cast(square, ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double))
    assert loomy.kernel(as_plain).shape == "element"


def test_a_cffi_python_callback_is_refused_with_the_reason() -> None:
    cffi = pytest.importorskip("cffi")
    callback = cffi.FFI().callback("double(double)", lambda x: x)
    with pytest.raises(TypeError, match="calls Python, so each call would take the GIL"):
        loomy.kernel(callback)


def test_a_complex_number_of_cffi_is_no_real_one() -> None:
    ffi = pytest.importorskip("cffi").FFI()
    csin = ffi.cast("double _Complex (*)(double _Complex)", 8)
    with pytest.raises(TypeError, match=r"read as c16\(c16\)"):
        loomy.kernel(csin)


def test_what_is_called_like_no_kernel_is_told_the_shapes_and_how_it_was_read() -> None:
    function = plain().odd_one_out
    function.argtypes = (ctypes.c_int64, ctypes.c_float)
    function.restype = ctypes.c_int64
    with pytest.raises(TypeError) as caught:
        loomy.kernel(function)
    message = str(caught.value)
    assert "c_long (c_long, c_float)" in message
    assert "read as i8(i8,f4)" in message
    for shape in ("intptr_t begin", "char **args", "double (double)", "loomy_call const *"):
        assert shape in message


def test_a_ctypes_function_without_types_needs_a_signature() -> None:
    function = ctypes.CDLL(str(library("plain.c"))).square
    with pytest.raises(TypeError, match=r"(?s)without argtypes does not say .*range") as caught:
        loomy.kernel(function)
    assert "signature=" in str(caught.value)
    function.argtypes = (ctypes.c_double,)
    function.restype = ctypes.c_double
    with pytest.raises(TypeError, match=r'read as f8\(f8\), and not "float \(float\)", read as f4\(f4\)'):
        loomy.kernel(function, signature="float (float)")
    assert loomy.kernel(function, signature="double f(double x);").shape == "element"


class Named:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __loomy_kernel__(self) -> Any:
        return self.answer


def test_objects_that_know_their_kernel() -> None:
    x, y = np.ones(5), np.zeros(5)
    loomy.kernel(Named(Named(kernels("native.c").saxpy)))(x, y, 2.0)
    assert (y == 2).all()
    loop = Named(None)
    loop.answer = loop
    with pytest.raises(TypeError, match="in circles"):
        loomy.kernel(loop)


@pytest.mark.parametrize("obj", [None, 5, "saxpy", abs, lambda x: x, object(), np.sin, [], type])
def test_what_has_no_native_function_is_refused(obj: Any) -> None:
    with pytest.raises(TypeError, match="no kernel can be made of"):
        loomy.kernel(obj)


def test_other_capsules_are_refused() -> None:
    import datetime

    with pytest.raises(TypeError, match=r"capsule is called 'datetime.datetime_CAPI'"):
        loomy.kernel(datetime.datetime_CAPI)


def test_options_of_kernel_are_checked() -> None:
    saxpy: Any = kernels("native.c").saxpy
    for option, value, error in [
        ("grain", -1, ValueError),
        ("grain", 2**70, ValueError),
        ("grain", "1", TypeError),
        ("name", 5, TypeError),
        ("signature", 5, TypeError),
        ("signature", "x; y:f8", ValueError),
        ("signature", "int (what, is, this)", ValueError),
    ]:
        options: dict[str, Any] = {option: value}
        with pytest.raises(error):
            loomy.kernel(saxpy, **options)


def test_a_kernel_of_a_kernel_keeps_what_is_not_given() -> None:
    saxpy = kernels("native.c").saxpy
    other = loomy.kernel(saxpy, name="other", grain=7)
    assert (other.name, other.signature, other.grain) == ("other", saxpy.signature, 7)
    factor = ctypes.c_double(4)
    scaled = loomy.kernel(
        plain().scaled, signature="double (double, void *)", user_data=factor, name="scaled"
    )
    again = loomy.kernel(scaled, grain=3)
    assert (again.name, again.shape, again.grain) == ("scaled", "element", 3)
    out = np.zeros(5)
    again(np.ones(5), out)
    assert (out == 4).all()


# Shared libraries.


def test_load_kernels_finds_what_a_library_exports() -> None:
    loaded = loomy.load_kernels(library("native.c"))
    assert {"saxpy", "dot", "mandelbrot", "stencil"} < set(loaded)
    assert len(loaded) == len(list(loaded)) == len([name for name in dir(loaded) if name in loaded])
    assert loaded["dot"].name == loaded.dot.name == "dot"
    assert "saxpy" in repr(loaded)
    with pytest.raises(AttributeError, match=r"has no kernel 'nothing', only .*saxpy"):
        _ = loaded.nothing
    with pytest.raises(KeyError):
        loaded["nothing"]


def test_load_kernels_of_given_names() -> None:
    loaded = loomy.load_kernels(str(library("native.c")), names=["saxpy"])
    assert list(loaded) == ["saxpy"]
    with pytest.raises(ValueError, match="exports no loomy_kernel_nothing"):
        loomy.load_kernels(library("native.c"), names=["nothing"])
    with pytest.raises(TypeError, match="names must be a list of names, not the str 'saxpy'"):
        loomy.load_kernels(library("native.c"), names="saxpy")


def test_a_library_can_be_copied() -> None:
    loaded = loomy.load_kernels(library("native.c"), names=["saxpy"])
    again = copy.copy(loaded)
    assert again.saxpy is loaded.saxpy
    assert repr(again) == repr(loaded)
    with pytest.raises(AttributeError, match="_kernels"):
        _ = object.__new__(loomy.KernelLibrary)._kernels


def test_load_kernels_of_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    path = library("native.c")
    monkeypatch.chdir(path.parent)
    assert "saxpy" in loomy.load_kernels(path.name)


def test_load_kernels_of_other_libraries_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exports no loomy_kernel_NAME functions"):
        loomy.load_kernels(library("plain.c"))
    with pytest.raises(OSError, match="nowhere"):
        loomy.load_kernels(tmp_path / "nowhere.so")
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(OSError, match="text"):
        loomy.load_kernels(tmp_path / "text.so")


@pytest.mark.parametrize("part", ["int", "long double"])
def test_complex_elements_that_no_dtype_is_for_do_not_compile(part: str, tmp_path: Path) -> None:
    source = tmp_path / f"complex{len(part)}.cpp"
    source.write_text(
        "#include <loomy/kernel.hpp>\n"
        f"static void odd(loomy::range, loomy::in<std::complex<{part}>>) {{}}\nLOOMY_KERNEL(odd)\n"
    )
    with pytest.raises(AssertionError, match=r"complex elements are std::complex<float> or"):
        compiled(source)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 0;", "null pointer"),
        ("static const loomy_kernel k = {8, LOOMY_ABI}; return &k;", "struct_size is too small"),
        (
            "static const loomy_kernel k = {sizeof(loomy_kernel), 9u << 16}; return &k;",
            "another major version",
        ),
        ("static const loomy_kernel k = {LOOMY_KERNEL_HEADER}; return &k;", "no run function"),
        (
            "static const loomy_kernel k = {LOOMY_KERNEL_HEADER, .run = (loomy_run_fn)8, .flags = 1u << 31};"
            "return &k;",
            "a flag that this version of loomy does not know",
        ),
    ],
)
def test_a_kernel_that_cannot_be_used_says_why(body: str, message: str, tmp_path: Path) -> None:
    source = tmp_path / f"bad{abs(hash(body))}.c"
    source.write_text(
        f"#include <loomy/kernel.h>\nLOOMY_EXPORT const loomy_kernel *loomy_kernel_bad(void) {{ {body} }}\n"
    )
    path = compiled(source, "-Wno-missing-field-initializers")
    with pytest.raises(ValueError, match=message):
        loomy.load_kernels(path)


def test_the_reader_of_elf_files_finds_what_nm_finds(tmp_path: Path) -> None:
    from loomy._elf import exported_functions

    done = subprocess.run(["nm", "-D", "--defined-only", library("native.c")], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("needs nm")
    expected = {line.split()[2] for line in done.stdout.splitlines() if line.split()[1] in "TWi"}
    assert set(exported_functions(library("native.c"))) == expected
    data = library("native.c").read_bytes()
    for cut in (4, 20, 63, 64, 500, len(data) // 2, len(data) - 70):
        damaged = tmp_path / "damaged.so"
        damaged.write_bytes(data[:cut])
        with pytest.raises(ValueError, match=r"damaged|stripped"):
            exported_functions(damaged)
    with pytest.raises(ValueError, match="no ELF"):
        exported_functions(SOURCES / "native.c")
