#pragma once

#include <Python.h>

#include <cstdint>

// The part of NumPy that loomy looks into without its headers, so that building and importing loomy needs no
// NumPy. Array objects have had this layout since NumPy 1.7, and every compiled extension has it inlined; the
// loop of a ufunc is documented in ufunc._get_strided_loop and labelled unstable, so loomy._ufunc.native
// checks all of it against NumPy itself before the first use.
namespace loomy::py::numpy {

struct array {
    PyObject_HEAD char* data;
    int dimensions;
    Py_ssize_t* shape;
    Py_ssize_t* strides;
};

inline constexpr int max_dimensions = 64;

using strided_loop = int(void* context, char* const* data, const Py_ssize_t* counts,
                         const Py_ssize_t* strides, void* auxiliary);

inline constexpr const char* call_info_capsule = "numpy_1.24_ufunc_call_info";

// What ufunc._resolve_dtypes_and_context makes and ufunc._get_strided_loop completes. The capsule owns it,
// with what its pointers point at.
struct call_info {
    strided_loop* loop;
    void* context;
    void* auxiliary;
    std::uint8_t requires_python; // the loop must be called attached
    std::uint8_t ignores_flags;   // the loop raises no floating-point flags worth reporting
};

} // namespace loomy::py::numpy
