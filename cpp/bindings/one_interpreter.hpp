#pragma once

#include <pybind11/pybind11.h>

#include <initializer_list>

namespace loomy::py {

// Workers, types and locks are the process's, so only one interpreter may have them: -1 with ImportError in another.
[[nodiscard]] int register_interpreter(PyObject* module);

// Calls each in turn; the first that fails ends the import with its error.
inline void register_or_throw(const pybind11::module_& module, std::initializer_list<int (*)(PyObject*)> all) {
    for (const auto one : all) {
        if (one(module.ptr()) < 0) throw pybind11::error_already_set();
    }
}

} // namespace loomy::py
