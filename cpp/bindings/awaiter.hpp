#pragma once

#include <Python.h>

#include "async_result.hpp"

namespace loomy::py {

// What `result.__await__()` gives: one wait of one asyncio task for one result. New reference.
// `iteration`: the map whose next result it is; it ends when an exception is thrown into the await.
[[nodiscard]] PyObject* await_result(async_result* result, PyObject* iteration = nullptr);

[[nodiscard]] int register_awaiter(PyObject* module);

} // namespace loomy::py
