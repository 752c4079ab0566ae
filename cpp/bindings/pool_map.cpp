#include "arguments.hpp"
#include "map_iterator.hpp"
#include "pool_object.hpp"

namespace loomy::py {

PyObject* pool_map(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static const argument_names expected{"payloads", "ordered", "buffer", "timeout", "ctx"};
    python_pool* const home = pool_of(self);
    PyObject* given[5] = {nullptr, nullptr, nullptr, nullptr, nullptr};
    call_limits limits;
    if (home == nullptr || !expected.parse("map", args, count, names, 1, 1, given) ||
        !limits.parse(given[3], given[4])) {
        return nullptr;
    }
    const int ordered = given[1] != nullptr ? PyObject_IsTrue(given[1]) : 1;
    if (ordered < 0) return nullptr;
    Py_ssize_t buffer = 0;
    if (given[2] != nullptr && given[2] != Py_None) {
        if (!PyLong_Check(given[2]) || PyBool_Check(given[2])) {
            return PyErr_Format(PyExc_TypeError,
                                "buffer is a number of payloads, an int, or None, not %.100s",
                                Py_TYPE(given[2])->tp_name);
        }
        buffer = PyLong_AsSsize_t(given[2]);
        if (buffer == -1 && PyErr_Occurred() != nullptr) {
            if (PyErr_ExceptionMatches(PyExc_OverflowError) == 0) return nullptr;
            PyErr_Clear();
            PyObject* const zero = PyLong_FromLong(0);
            const int positive = zero != nullptr ? PyObject_RichCompareBool(given[2], zero, Py_GT) : -1;
            Py_XDECREF(zero);
            if (positive < 0) return nullptr;
            buffer = positive != 0 ? PY_SSIZE_T_MAX : 0;
        }
        if (buffer < 1) return PyErr_Format(PyExc_ValueError, "buffer must be at least 1, not %R", given[2]);
    }
    if (home->core->closed()) return raise_not_running(*home);
    return make_map_iterator(*home, given[0], ordered != 0, buffer, limits);
}

} // namespace loomy::py
