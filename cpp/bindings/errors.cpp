#include "errors.hpp"

#include <cstdarg>

namespace loomy::py::errors {
namespace {

struct entry {
    const char* name;
    PyObject* type;
};

entry classes[] = {{"JobCancelled", nullptr},   {"DeadlineExceeded", nullptr}, {"JobTimedOut", nullptr},
                   {"PoolNotRunning", nullptr}, {"PoolFull", nullptr},         {"WorkerClosed", nullptr},
                   {"WorkerPanic", nullptr},    {"JobNotCallable", nullptr}};

} // namespace

PyObject* job_cancelled() noexcept {
    return classes[0].type;
}
PyObject* deadline_exceeded() noexcept {
    return classes[1].type;
}
PyObject* job_timed_out() noexcept {
    return classes[2].type;
}
PyObject* pool_not_running() noexcept {
    return classes[3].type;
}
PyObject* pool_full() noexcept {
    return classes[4].type;
}
PyObject* worker_closed() noexcept {
    return classes[5].type;
}
PyObject* worker_panic() noexcept {
    return classes[6].type;
}
PyObject* job_not_callable() noexcept {
    return classes[7].type;
}

PyObject* take_raised() noexcept {
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == nullptr) return nullptr;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != nullptr) PyException_SetTraceback(value, traceback);
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

void raise(PyObject* exception) noexcept {
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(Py_NewRef(exception));
#else
    PyErr_Restore(Py_NewRef(reinterpret_cast<PyObject*>(Py_TYPE(exception))), Py_NewRef(exception),
                  PyException_GetTraceback(exception));
#endif
}

void put_back(PyObject* taken) noexcept {
    if (taken == nullptr) return;
    raise(taken);
    Py_DECREF(taken);
}

PyObject* make(PyObject* type, PyObject* cause, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    PyObject* const message = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    if (message == nullptr) return nullptr;
    PyObject* const exception = PyObject_CallOneArg(type, message);
    Py_DECREF(message);
    if (exception != nullptr && cause != nullptr) PyException_SetCause(exception, Py_NewRef(cause));
    return exception;
}

namespace {

void wrap(PyObject* type, const char* message) {
    if (PyErr_ExceptionMatches(type) == 0) return;
    PyObject* const raised = take_raised();
    PyObject* const wrapped = make(PyExc_RuntimeError, raised, "%s", message);
    if (wrapped != nullptr) PyException_SetContext(wrapped, Py_NewRef(raised)); // as PEP 479 does
    Py_DECREF(raised);
    if (wrapped == nullptr) return;
    raise(wrapped);
    Py_DECREF(wrapped);
}

} // namespace

void wrap_stop_iteration(const char* message) {
    wrap(PyExc_StopIteration, message);
}

void wrap_stop_async_iteration(const char* message) {
    wrap(PyExc_StopAsyncIteration, message);
}

void report_unraisable(const char* what, PyObject* where) noexcept {
#if PY_VERSION_HEX >= 0x030D0000
    PyErr_FormatUnraisable("Exception ignored in %s %R", what, where != nullptr ? where : Py_None);
#else
    (void)what;
    PyErr_WriteUnraisable(where);
#endif
}

} // namespace loomy::py::errors

namespace loomy::py {

int register_errors(PyObject*) {
    PyObject* const module = PyImport_ImportModule("loomy.errors");
    if (module == nullptr) return -1;
    for (errors::entry& one : errors::classes) {
        Py_XSETREF(one.type, PyObject_GetAttrString(module, one.name));
        if (one.type == nullptr) break;
    }
    Py_DECREF(module);
    return PyErr_Occurred() != nullptr ? -1 : 0;
}

} // namespace loomy::py
