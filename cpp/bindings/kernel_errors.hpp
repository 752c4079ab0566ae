#pragma once

#include <Python.h>

#include <cstdint>

#include "loomy/exec/launch.hpp"

namespace loomy::py {

// A participant may itself have run the chunk that failed: a KeyboardInterrupt of Ctrl-C that came meanwhile
// is its own, as it is.
enum class asked_by : std::uint8_t { participant, other };

// The exception of a launch that ended with an error of its own (phase done, and not LOOMY_OK), as its caller
// is to see it: the built-in class of its status, WorkerPanic for a C++ exception that nobody caught, with a
// note that names kernel, pool and items. Takes the Python error that the kernel left, if it did. New
// reference; null with an error set.
[[nodiscard]] PyObject* launch_error(launch& failed, PyObject* kernel_name, PyObject* pool_name,
                                     asked_by who);

} // namespace loomy::py
