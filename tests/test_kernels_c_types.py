"""C function types read by how they are called."""

from __future__ import annotations

import ctypes
import re

import pytest

import loomy
from loomy._c_signature import read_declaration, read_type

WORD = f"i{ctypes.sizeof(ctypes.c_void_p)}"
LONG = f"i{ctypes.sizeof(ctypes.c_long)}"


@pytest.mark.parametrize(
    ("text", "abi"),
    [
        ("double (double)", "f8(f8)"),
        ("double(double)", "f8(f8)"),
        ("double f(double x)", "f8(f8)"),
        ("double f ( double x ) ;", "f8(f8)"),
        ("double (*)(double)", "f8(f8)"),
        ("double(*)(double)", "f8(f8)"),
        ("double (*name)(double x)", "f8(f8)"),
        ("const double (const double, void const *)", "f8(f8,p)"),
        ("double (double, const void *restrict user)", "f8(f8,p)"),
        ("double (int, double *)", "f8(i4,p)"),
        ("double (int n, double x[])", "f8(i4,p)"),
        ("double (int n, double x[3], void *)", "f8(i4,p,p)"),
        ("int (intptr_t, Py_ssize_t, void *)", f"i4({WORD},{WORD},p)"),
        ("int (ssize_t begin, ptrdiff_t end, void *user)", f"i4({WORD},{WORD},p)"),
        ("int (long, unsigned long, void*)", f"i4({LONG},{LONG},p)"),
        ("int (long int, long unsigned int, void*)", f"i4({LONG},{LONG},p)"),
        ("int (long long, int64_t, void*)", "i4(i8,i8,p)"),
        ("signed (unsigned, signed int, unsigned int)", "i4(i4,i4,i4)"),
        ("void (char **, npy_intp const *, npy_intp const *, void *)", "v(p,p,p,p)"),
        ("void (char *args[], intptr_t *, intptr_t *, void *)", "v(p,p,p,p)"),
        ("void (void)", "v()"),
        ("void ()", "v()"),
        ("float (float, float)", "f4(f4,f4)"),
        ("int (struct loomy_call const *)", "i4(p)"),
        ("int (const loomy_call *call)", "i4(p)"),
        ("loomy_status (const loomy_call *)", "i4(p)"),
        ("char (short, unsigned char, signed char, uint16_t)", "i1(i2,i1,i1,i2)"),
        ("void *(int)", "p(i4)"),
        ("double (double (*f)(double), double x)", "f8(p,f8)"),
        ("double (double) nogil", "f8(f8)"),
        ("double (double) noexcept nogil", "f8(f8)"),
        ("int (double) except -1 nogil", "i4(f8)"),
        ("int (double) except? -1", "i4(f8)"),
        ("int (double) except *", "i4(f8)"),
    ],
)
def test_is_read_as(text: str, abi: str) -> None:
    assert read_declaration(text) == abi


@pytest.mark.parametrize(
    ("text", "abi"),
    [
        ("double _Complex (double _Complex)", "c16(c16)"),
        ("double complex f(_Complex double z)", "c16(c16)"),
        ("float _Complex (float complex, double)", "c8(c8,f8)"),
        ("double (double complex *)", "f8(p)"),
    ],
)
def test_complex_numbers_are_not_taken_for_real_ones(text: str, abi: str) -> None:
    assert read_declaration(text) == abi
    if abi != "f8(p)":
        function = ctypes.CDLL(None).labs
        with pytest.raises(TypeError, match=re.escape(abi)):
            loomy.kernel(function, signature=text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("double", "no C function type"),
        ("", "no C function type"),
        ("double (double", "closing parenthesis"),
        ("double (what)", "what"),
        ("strange (double)", "strange"),
        ("double (double) please", "please"),
        ("double (double, ...)", "variable number"),
        ("double (double, void)", "cannot be void"),
        ("double (double x y)", "x y"),
        ("(double)", "nothing"),
        ("double (double,, double)", "nothing"),
        ("long double (double)", "long double"),
    ],
)
def test_what_cannot_be_read_says_what_it_is(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        read_declaration(text)


def test_types_of_one_size_are_one_type() -> None:
    eight = ["long long", "unsigned long long", "int64_t", "uint64_t", "npy_int64", "long long int"]
    assert {read_type(one) for one in eight} == {"i8"}
    assert {read_type(one) for one in ("void *", "char const *", "double **", "struct any *const")} == {"p"}
