#include "standard_library.hpp"

#include <cmath>
#include <new>
#include <vector>

#include "errors.hpp"
#include "python_module.hpp"
#include "timeout.hpp"

namespace loomy::py {

bool parse_standard_timeout(PyObject* value, deadline* out) {
    *out = deadline::never();
    if (value == nullptr || value == Py_None) return true;
    PyObject* const zero = PyLong_FromLong(0);
    const int positive = zero != nullptr ? PyObject_RichCompareBool(value, zero, Py_GT) : -1;
    Py_XDECREF(zero);
    if (positive < 0) return false;
    if (positive == 0) {
        *out = deadline::after(0);
        return true;
    }
    if (value != Py_True) return parse_timeout(value, out, "timeout");
    *out = deadline::after(1'000'000'000); // which elsewhere is taken for a mistake
    return true;
}

bool parse_standard_end(PyObject* value, deadline* out) {
    if (PyFloat_Check(value) && std::isnan(PyFloat_AS_DOUBLE(value))) {
        *out = deadline::after(0);
        return true;
    }
    return parse_deadline(value, out, "timeout");
}

void say_as_standard_library(const char* module, const char* kind, const char* method, PyObject* self,
                             PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject* const ours = errors::take_raised();
    PyObject* const type = borrowed_class(module, kind);
    PyObject* const function = type != nullptr ? PyObject_GetAttrString(type, method) : nullptr;
    PyObject* answer = nullptr;
    if (function != nullptr) {
        const Py_ssize_t named = names != nullptr ? PyTuple_GET_SIZE(names) : 0;
        try {
            std::vector<PyObject*> all{self};
            all.insert(all.end(), args, args + count + named);
            answer = PyObject_Vectorcall(function, all.data(), static_cast<std::size_t>(count) + 1, names);
        } catch (const std::bad_alloc&) {
            PyErr_NoMemory();
        }
        Py_DECREF(function);
    }
    Py_XDECREF(answer);
    if (PyErr_ExceptionMatches(PyExc_TypeError) != 0) {
        Py_DECREF(ours);
        return;
    }
    PyErr_Clear();
    errors::put_back(ours);
}

PyObject* standard_cancelled_error() {
    PyObject* const kind = borrowed_class("concurrent.futures", "CancelledError");
    return kind != nullptr ? PyObject_CallNoArgs(kind) : nullptr;
}

} // namespace loomy::py
