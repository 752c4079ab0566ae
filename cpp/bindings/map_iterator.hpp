#pragma once

#include <Python.h>

namespace loomy::py {

class python_pool;
struct call_limits;

// loomy.MapIterator: what Pool.map returns. Null with an error set.
[[nodiscard]] PyObject* make_map_iterator(python_pool& home, PyObject* payloads, bool ordered,
                                          Py_ssize_t buffer, const call_limits& limits);

[[nodiscard]] int register_map_iterator(PyObject* module);

} // namespace loomy::py
