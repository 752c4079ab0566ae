#pragma once

#include <Python.h>

namespace loomy::py {

// loomy.ufunc, and what loomy._ufunc runs its loops with.
[[nodiscard]] int register_ufunc(PyObject* module);

// loomy._loomy._run_ufunc_loop(pool, call_info, views) -> int, or None if it would not pay; see _loomy.pyi.
PyObject* run_ufunc_loop(PyObject*, PyObject* const* args, Py_ssize_t count);
// loomy._loomy._array_layout(array) -> tuple
PyObject* array_layout(PyObject*, PyObject* array);
// loomy._loomy._run_ufunc_pieces(pool, pieces) -> bool
PyObject* run_ufunc_pieces(PyObject*, PyObject* const* args, Py_ssize_t count);

} // namespace loomy::py
