#include "kernel_errors.hpp"

#include "errors.hpp"
#include "invoke.hpp"

namespace loomy::py {
namespace {

struct status_class {
    int code;
    const char* name;
    PyObject** type; // as Python's own classes are known at run time only
};

PyObject* class_of(int code, const char** name) {
    const status_class known[] = {
        {LOOMY_ERROR, "LOOMY_ERROR", &PyExc_RuntimeError},
        {LOOMY_EVALUE, "LOOMY_EVALUE", &PyExc_ValueError},
        {LOOMY_ETYPE, "LOOMY_ETYPE", &PyExc_TypeError},
        {LOOMY_EMEMORY, "LOOMY_EMEMORY", &PyExc_MemoryError},
        {LOOMY_EINDEX, "LOOMY_EINDEX", &PyExc_IndexError},
        {LOOMY_EOVERFLOW, "LOOMY_EOVERFLOW", &PyExc_OverflowError},
        {LOOMY_EZERODIV, "LOOMY_EZERODIV", &PyExc_ZeroDivisionError},
        {LOOMY_EOS, "LOOMY_EOS", &PyExc_OSError},
        {LOOMY_ENOTIMPL, "LOOMY_ENOTIMPL", &PyExc_NotImplementedError},
        {LOOMY_EPYTHON, "LOOMY_EPYTHON, but no Python error was set", &PyExc_RuntimeError},
        {LOOMY_EUNAVAILABLE, "LOOMY_EUNAVAILABLE", &PyExc_RuntimeError},
    };
    for (const status_class& one : known) {
        if (one.code != code) continue;
        *name = one.name;
        return *one.type;
    }
    *name = nullptr;
    return PyExc_RuntimeError;
}

PyObject* text_of(std::string_view message) {
    return PyUnicode_DecodeUTF8(message.data(), static_cast<Py_ssize_t>(message.size()), "replace");
}

PyObject* panic(PyObject* kernel_name, PyObject* message) {
    PyObject* const cause = PyObject_CallOneArg(PyExc_RuntimeError, message);
    if (cause == nullptr) return nullptr;
    PyObject* const error = errors::make(errors::worker_panic(), cause,
                                         "a C++ exception left kernel '%U': %U", kernel_name, message);
    Py_DECREF(cause);
    return error;
}

PyObject* exception_for(const launch_outcome& end, PyObject* kernel_name) {
    PyObject* const message = text_of(end.message);
    if (message == nullptr) return nullptr;
    PyObject* error = nullptr;
    if (end.code == LOOMY_EPANIC) {
        error = panic(kernel_name, message);
    } else {
        const char* name = nullptr;
        PyObject* const type = class_of(end.code, &name);
        if (PyUnicode_GET_LENGTH(message) != 0) {
            error = PyObject_CallOneArg(type, message);
        } else if (name != nullptr) {
            error = errors::make(type, nullptr, "kernel '%U' failed with %s", kernel_name, name);
        } else {
            error = errors::make(type, nullptr, "kernel '%U' failed with status %d", kernel_name, end.code);
        }
    }
    Py_DECREF(message);
    return error;
}

void add_note(PyObject* error, const launch_outcome& end, PyObject* kernel_name, PyObject* pool_name) {
    PyObject* const note =
        end.where.end > end.where.begin
            ? PyUnicode_FromFormat("in kernel '%U' of pool '%U', items %lld to %lld%s", kernel_name,
                                   pool_name, static_cast<long long>(end.where.begin),
                                   static_cast<long long>(end.where.end - 1),
                                   end.is_of_loop ? " of a loop inside it" : "")
            : PyUnicode_FromFormat("in kernel '%U' of pool '%U'", kernel_name, pool_name);
    PyObject* const nothing = note != nullptr ? PyObject_CallMethod(error, "add_note", "O", note) : nullptr;
    if (nothing == nullptr) PyErr_Clear(); // the error matters more
    Py_XDECREF(nothing);
    Py_XDECREF(note);
}

bool is_interrupt(PyObject* error) {
    errors::raise(error);
    const bool interrupt = is_interrupt_of_this_thread();
    PyErr_Clear();
    return interrupt;
}

} // namespace

PyObject* launch_error(launch& failed, PyObject* kernel_name, PyObject* pool_name, asked_by who) {
    const launch_outcome end = failed.outcome();
    auto* error = static_cast<PyObject*>(failed.take_foreign_error());
    if (error != nullptr &&
        PyObject_TypeCheck(error, reinterpret_cast<PyTypeObject*>(PyExc_Exception)) == 0) {
        if (who == asked_by::participant && is_interrupt(error)) return error;
        // As a job that raises it: the exceptions that end threads and programs are not for the caller.
        PyObject* const told =
            errors::make(errors::worker_panic(), error, "kernel '%U' raised %R", kernel_name, error);
        Py_SETREF(error, told);
    } else if (error == nullptr) {
        error = exception_for(end, kernel_name);
    }
    if (error != nullptr) add_note(error, end, kernel_name, pool_name);
    return error;
}

} // namespace loomy::py
