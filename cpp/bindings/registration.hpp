#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>

namespace loomy::py {

// Adds one type, or a few functions, to the module: 0, or -1 with an error set.
using registration = int (*)(PyObject* module);

// Workers, types and locks are the process's, so only one interpreter may have them: ImportError in another.
[[nodiscard]] int register_interpreter(PyObject* module);

// Calls each in turn; the first that fails ends the import with its error.
template <std::size_t Count>
void register_all(const pybind11::module_& module, const registration (&in_order)[Count]) {
    for (const registration one : in_order) {
        if (one(module.ptr()) < 0) throw pybind11::error_already_set();
    }
}

} // namespace loomy::py
