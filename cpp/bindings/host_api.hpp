#pragma once

#include <Python.h>

namespace loomy::py {

// loomy._loomy._host_api, the capsule of loomy/host.h, and what kernels may ask of the interpreter.
[[nodiscard]] int register_host_api(PyObject* module);

} // namespace loomy::py
