#pragma once

#include <Python.h>

namespace loomy::py {

// ExecutorBase._map: all calls of a map as one batch, and an iterator over their results.
PyObject* executor_map(PyObject* self, PyObject* const* args, Py_ssize_t count);

[[nodiscard]] int register_executor_map(PyObject* module);

} // namespace loomy::py
