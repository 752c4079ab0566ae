// What loomy._ufunc calls to compute: a loop of NumPy's own, or calls of the ufunc on pieces of the operands.

#include <cfenv>
#include <new>

#include "errors.hpp"
#include "gil.hpp"
#include "lent_environment.hpp"
#include "pool_object.hpp"
#include "ufunc_chunks.hpp"
#include "ufunc_loop.hpp"
#include "ufunc_object.hpp"

namespace loomy::py {
namespace {

// Each piece is a Python callable; it lets go of the GIL while NumPy computes.
class python_pieces final : public chunk_body {
  public:
    explicit python_pieces(PyObject* pieces) noexcept : pieces_(pieces) {}

    bool run(std::int64_t begin, std::int64_t end) override {
        const gil::attached scope;
        if (!scope) return false;
        const lent_environment callers(environment_);
        for (std::int64_t i = begin; i < end; ++i) {
            PyObject* const nothing = PyObject_CallNoArgs(PyTuple_GET_ITEM(pieces_, i));
            if (nothing == nullptr) return false; // the error stays on this thread's state
            Py_DECREF(nothing);
        }
        return true;
    }

  private:
    PyObject* const pieces_; // a tuple the caller holds
    const std::fenv_t environment_ = clean_environment();
};

// As NumPy numbers them, NPY_FPE_*.
int numpy_flags(int raised) noexcept {
    int flags = 0;
    if ((raised & FE_DIVBYZERO) != 0) flags |= 1;
    if ((raised & FE_OVERFLOW) != 0) flags |= 2;
    if ((raised & FE_UNDERFLOW) != 0) flags |= 4;
    if ((raised & FE_INVALID) != 0) flags |= 8;
    return flags;
}

} // namespace

PyObject* run_ufunc_loop(PyObject*, PyObject* const* args, Py_ssize_t count) {
    if (count != 3 || !PyTuple_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "_run_ufunc_loop(pool, call_info, views)");
        return nullptr;
    }
    python_pool* const home = args[0] != Py_None ? pool_of(args[0]) : nullptr;
    if (home == nullptr && args[0] != Py_None) return nullptr;
    const auto* const info =
        static_cast<const numpy::call_info*>(PyCapsule_GetPointer(args[1], numpy::call_info_capsule));
    if (info == nullptr) return nullptr;
    if (info->loop == nullptr || info->requires_python != 0) Py_RETURN_NONE;
    try {
        ufunc_loop loop(*info, args[2]);
        switch (home != nullptr ? run_chunks(*home, loop.items(), loop) : run_here(loop.items(), loop)) {
            case chunks_end::done:
                return PyLong_FromLong(numpy_flags(loop.flags()));
            case chunks_end::refused:
                Py_RETURN_NONE;
            case chunks_end::failed:
                return nullptr;
        }
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
    return nullptr;
}

// Data address, shape and strides of an array, to be compared with what NumPy says they are.
PyObject* array_layout(PyObject*, PyObject* given) {
    const auto& array = *reinterpret_cast<const numpy::array*>(given);
    if (array.dimensions < 0 || array.dimensions > numpy::max_dimensions) Py_RETURN_NONE;
    PyObject* const shape = PyTuple_New(array.dimensions);
    PyObject* const strides = PyTuple_New(array.dimensions);
    for (int axis = 0; shape != nullptr && strides != nullptr && axis < array.dimensions; ++axis) {
        PyTuple_SET_ITEM(shape, axis, PyLong_FromSsize_t(array.shape[axis]));
        PyTuple_SET_ITEM(strides, axis, PyLong_FromSsize_t(array.strides[axis]));
    }
    return Py_BuildValue("NNN", PyLong_FromVoidPtr(array.data), shape, strides);
}

PyObject* run_ufunc_pieces(PyObject*, PyObject* const* args, Py_ssize_t count) {
    if (count != 2 || !PyTuple_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "_run_ufunc_pieces(pool, pieces)");
        return nullptr;
    }
    python_pool* const home = pool_of(args[0]);
    if (home == nullptr) return nullptr;
    python_pieces body(args[1]);
    switch (run_chunks(*home, PyTuple_GET_SIZE(args[1]), body)) {
        case chunks_end::done:
            Py_RETURN_TRUE;
        case chunks_end::refused:
            Py_RETURN_FALSE;
        case chunks_end::failed:
            return nullptr;
    }
    return nullptr;
}

} // namespace loomy::py
