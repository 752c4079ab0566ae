#include "arguments.hpp"

#include <cassert>

namespace loomy::py {

argument_names::argument_names(std::initializer_list<const char*> names) {
    assert(names.size() <= most);
    for (const char* name : names) names_[count_++] = PyUnicode_InternFromString(name);
}

bool argument_names::parse(const char* function, PyObject* const* args, Py_ssize_t count, PyObject* keywords,
                           Py_ssize_t required, Py_ssize_t positional, PyObject** out) const {
    const auto known = static_cast<Py_ssize_t>(count_);
    if (count > positional) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd positional argument%s, got %zd", function,
                     positional, positional == 1 ? "" : "s", count);
        return false;
    }
    for (Py_ssize_t i = 0; i < known; ++i) out[i] = i < count ? args[i] : nullptr;
    const Py_ssize_t named = keywords != nullptr ? PyTuple_GET_SIZE(keywords) : 0;
    for (Py_ssize_t k = 0; k < named; ++k) {
        PyObject* const name = PyTuple_GET_ITEM(keywords, k);
        Py_ssize_t at = 0;
        while (at < known && names_[static_cast<std::size_t>(at)] != name) ++at;
        if (at == known) { // not interned by the caller
            for (at = 0; at < known; ++at) {
                if (PyUnicode_Compare(names_[static_cast<std::size_t>(at)], name) == 0) break;
            }
        }
        if (at == known) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, name);
            return false;
        }
        if (out[at] != nullptr) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", function, name);
            return false;
        }
        out[at] = args[count + k];
    }
    for (Py_ssize_t i = 0; i < required; ++i) {
        if (out[i] != nullptr) continue;
        PyErr_Format(PyExc_TypeError, "%s() is missing its argument '%U'", function,
                     names_[static_cast<std::size_t>(i)]);
        return false;
    }
    return true;
}

} // namespace loomy::py
