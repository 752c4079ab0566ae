#pragma once

#include <Python.h>

namespace loomy::py {

// A callable without arguments that is fn(*args, **kwargs), from the arguments of a vectorcall. What
// functools.partial does, at a tenth of its price: no dictionary, and the collector does not look at it while
// it waits in a queue. New reference, null with an error set.
[[nodiscard]] PyObject* make_bound_call(PyObject* const* args, Py_ssize_t count, PyObject* names);

// Hooks are about to see a payload, and may keep it: from now on the collector must know of it.
void show_to_hooks(PyObject* payload) noexcept;

[[nodiscard]] int register_bound_call(PyObject* module);

} // namespace loomy::py
