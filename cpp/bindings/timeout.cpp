#include "timeout.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace loomy::py {
namespace {

constexpr double ns_per_second = 1e9;
constexpr double too_far_ns = 9.2e18; // a little less than 2^63

bool refuse(PyObject* value, const char* what, const char* unit) {
    if (PyType_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be %s or None, got the class %s", what, unit,
                     reinterpret_cast<PyTypeObject*>(value)->tp_name);
    } else {
        PyErr_Format(PyExc_TypeError, "%s must be %s or None, got an object of type %s", what, unit,
                     Py_TYPE(value)->tp_name);
    }
    return false;
}

bool parse_number(PyObject* value, double* out, const char* what, const char* unit) {
    if (PyFloat_CheckExact(value)) {
        *out = PyFloat_AS_DOUBLE(value);
    } else {
        const PyNumberMethods* const number = Py_TYPE(value)->tp_as_number;
        const bool is_number =
            number != nullptr && (number->nb_float != nullptr || number->nb_index != nullptr);
        // A bool is an int to Python, but as a time it is a mistake.
        if (!is_number || PyBool_Check(value)) return refuse(value, what, unit);
        *out = PyFloat_AsDouble(value);
        if (*out == -1.0 && PyErr_Occurred() != nullptr) {
            if (PyErr_ExceptionMatches(PyExc_OverflowError) == 0) return false;
            // An int that no float can hold. Its sign says which end of time is meant.
            PyErr_Clear();
            PyObject* const zero = PyLong_FromLong(0);
            const int negative = zero != nullptr ? PyObject_RichCompareBool(value, zero, Py_LT) : -1;
            Py_XDECREF(zero);
            if (negative < 0) return false;
            *out = negative != 0 ? -HUGE_VAL : HUGE_VAL;
        }
    }
    if (!std::isnan(*out)) return true;
    PyErr_Format(PyExc_ValueError, "%s must be %s or None, got nan", what, unit);
    return false;
}

} // namespace

bool parse_timeout(PyObject* value, deadline* out, const char* what) {
    *out = deadline::never();
    if (value == nullptr || value == Py_None) return true;
    double seconds = 0;
    if (!parse_number(value, &seconds, what, "a number of seconds")) return false;
    const double ns = std::ceil(seconds * ns_per_second); // up: a wait is never too short
    if (ns >= too_far_ns) return true;
    const std::int64_t now = now_ns();
    // Times before the clock's zero are cut off there: the system's waits do not take them.
    const auto offset = ns <= static_cast<double>(-now) ? -now : static_cast<std::int64_t>(ns);
    if (offset < std::numeric_limits<std::int64_t>::max() - now) *out = deadline::at(now + offset);
    return true;
}

bool parse_deadline(PyObject* value, deadline* out, const char* what) {
    *out = deadline::never();
    if (value == nullptr || value == Py_None) return true;
    double seconds = 0;
    if (!parse_number(value, &seconds, what, "a time of time.monotonic()")) return false;
    const double ns = std::nearbyint(seconds * ns_per_second);
    if (ns < too_far_ns) *out = deadline::at(static_cast<std::int64_t>(std::max(ns, 0.0)));
    return true;
}

double monotonic_seconds(deadline when) noexcept {
    return static_cast<double>(when.ns()) / ns_per_second;
}

} // namespace loomy::py
