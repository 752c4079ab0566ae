#pragma once

#include <Python.h>

#include "loomy/base/clock.hpp"

// What an executor and its futures have to say as the standard library's would.
namespace loomy::py {

// A timeout of a future: null and None are never, and whatever is not greater than 0, nan included, has
// passed. What cannot be compared with 0 raises what Python says of that. False with an error set.
[[nodiscard]] bool parse_standard_timeout(PyObject* value, deadline* out);
// The same for an end that was computed from one, a reading of time.monotonic().
[[nodiscard]] bool parse_standard_end(PyObject* value, deadline* out);

// The TypeError that is set, of arguments that `module.kind.method` would not take either, becomes that
// method's own, in the words of the Python version that runs.
void say_as_standard_library(const char* module, const char* kind, const char* method, PyObject* self,
                             PyObject* const* args, Py_ssize_t count, PyObject* names);

// A concurrent.futures.CancelledError: not a subclass, for asyncio compares the class. New reference.
[[nodiscard]] PyObject* standard_cancelled_error();

} // namespace loomy::py
