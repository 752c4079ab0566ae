#pragma once

#include <Python.h>

namespace loomy::py {

// __version__, build_info(), usable_cpus() and the checkpoint. -1 with an error set.
[[nodiscard]] int register_build_info(PyObject* module);

} // namespace loomy::py
