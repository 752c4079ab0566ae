#pragma once

#include <Python.h>

#include "loomy/base/clock.hpp"

namespace loomy::py {

// Seconds from now. Null, None and infinity: never; so is anything too far to count in nanoseconds. Zero and
// less: passed already. Takes whatever is a number (int, float, NumPy scalars, Decimal...), but no bool and
// no str. `what` names the argument in the message. False with TypeError or ValueError (nan) set.
[[nodiscard]] bool parse_timeout(PyObject* value, deadline* out, const char* what);

// The same for a reading of time.monotonic(), which is the core's clock.
[[nodiscard]] bool parse_deadline(PyObject* value, deadline* out, const char* what);

// What time.monotonic() reads then.
[[nodiscard]] double monotonic_seconds(deadline when) noexcept;

} // namespace loomy::py
