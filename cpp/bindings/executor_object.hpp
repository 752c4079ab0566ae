#pragma once

#include <Python.h>

namespace loomy::py {

// loomy._loomy.ExecutorBase, what loomy.Executor derives from: a pool_object with other manners.
[[nodiscard]] int register_executor(PyObject* module);

} // namespace loomy::py
