#pragma once

#include <Python.h>

#include "async_result.hpp"

namespace loomy::py {

// What `result.__await__()` gives: one wait of one asyncio task for one result. New reference.
[[nodiscard]] PyObject* await_result(async_result* result);

[[nodiscard]] int register_awaiter(PyObject* module);

} // namespace loomy::py
