#pragma once

#include <Python.h>

// Python objects that C++ gets from loomy's own Python modules, at first use.
namespace loomy::py {

// A class or function of a module. Borrowed, kept for ever; null with an error set.
[[nodiscard]] PyObject* borrowed_class(const char* module, const char* name);

} // namespace loomy::py
