#include "invoke.hpp"

#include <cstring>

#include "errors.hpp"
#include "gil.hpp"
#include "python_env.hpp"
#include "python_module.hpp"

namespace loomy::py {
namespace {

PyObject* call_worker(frame& where, PyObject* context, PyObject* payload) {
    auto& env = static_cast<worker_thread_env&>(where.env);
    if (env.ready_method != nullptr) {
        PyObject* const nothing = PyObject_CallNoArgs(env.ready_method);
        if (nothing == nullptr) return nullptr;
        Py_DECREF(nothing);
    }
    PyObject* const arguments[] = {nullptr, context, payload};
    return PyObject_Vectorcall(env.process_method, arguments + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                               nullptr);
}

// Notes pile up on an exception object that is raised again and again, so each is added once.
void add_note_once(PyObject* exception, PyObject* note) {
    PyObject* const notes = PyObject_GetAttrString(exception, "__notes__");
    const bool there = notes != nullptr && PySequence_Contains(notes, note) == 1;
    Py_XDECREF(notes);
    PyErr_Clear();
    if (there) return;
    PyObject* const nothing = PyObject_CallMethod(exception, "add_note", "O", note);
    Py_XDECREF(nothing);
    PyErr_Clear(); // an exception that takes no note is still the job's exception
}

// The outermost frame of a job that raised refers to the one that waits, which has the job's result in a
// variable, perhaps: a cycle with the exception. A worker's own thread has nothing there, so the reference is
// cut. It is the first member of a frame that has returned, which CPython does not say: what is there is
// compared with what the frame calls its caller.
void cut_from_waiter(PyObject* raised) {
    PyObject* const traceback = PyException_GetTraceback(raised);
    if (traceback == nullptr) return;
    PyFrameObject* const outermost = reinterpret_cast<PyTracebackObject*>(traceback)->tb_frame;
    PyFrameObject* const back = PyFrame_GetBack(outermost);
    char* const place = reinterpret_cast<char*>(outermost) + sizeof(PyObject);
    PyFrameObject* member = nullptr;
    std::memcpy(&member, place, sizeof member);
    // Not that of another frame: an exception may have been raised before.
    if (back != nullptr && member == back && back == gil::current_frame()) {
        member = nullptr;
        std::memcpy(place, &member, sizeof member);
        Py_DECREF(back); // the member's
    }
    Py_XDECREF(back);
    Py_DECREF(traceback);
}

} // namespace

PyObject* call_target(const python_pool& home, PyObject* target, frame& where, running_call& call,
                      PyObject* payload) {
    switch (home.kind) {
        case pool_kind::function: {
            PyObject* const arguments[] = {nullptr, payload};
            return PyObject_Vectorcall(target, arguments + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
        }
        case pool_kind::callbacks:
        case pool_kind::executor:
            return PyObject_CallNoArgs(payload);
        case pool_kind::context: {
            PyObject* const context = call.context();
            if (context == nullptr) return nullptr;
            PyObject* const arguments[] = {nullptr, context, payload};
            return PyObject_Vectorcall(target, arguments + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
        }
        case pool_kind::workers: {
            PyObject* const context = call.context();
            return context != nullptr ? call_worker(where, context, payload) : nullptr;
        }
    }
    Py_UNREACHABLE();
}

PyObject* job_failure(const python_pool& home, const frame& where) {
    PyObject* const raised = errors::take_raised();
    if (!where.own_thread) cut_from_waiter(raised);
    if (home.kind == pool_kind::executor) return raised; // as the standard library: any exception, as it is
    if (PyErr_GivenExceptionMatches(raised, PyExc_Exception)) {
        PyObject* const note = PyUnicode_FromFormat("in loomy pool '%U', worker %u", home.name,
                                                    static_cast<unsigned>(where.where.id));
        if (note != nullptr) {
            add_note_once(raised, note);
            Py_DECREF(note);
        }
        PyErr_Clear();
        return raised;
    }
    PyObject* panic =
        errors::make(errors::worker_panic(), raised,
                     "a job of pool '%U' on worker %u raised %s, which is not an Exception; see __cause__",
                     home.name, static_cast<unsigned>(where.where.id), Py_TYPE(raised)->tp_name);
    if (panic == nullptr) {
        panic = errors::take_raised(); // out of memory
    }
    Py_DECREF(raised);
    return panic;
}

void tell_job_error(PyObject* table, PyObject* payload, PyObject* error, double seconds) {
    PyObject* const duration = PyFloat_FromDouble(seconds);
    PyObject* const arguments[] = {payload, error, duration};
    if (duration != nullptr) python_pool::call_hook(table, job_error, arguments, 3);
    Py_XDECREF(duration);
    PyErr_Clear();
}

void tell_job_complete(PyObject* table, PyObject* payload, PyObject* result, double seconds) {
    PyObject* const duration = PyFloat_FromDouble(seconds);
    PyObject* const arguments[] = {payload, result, duration};
    if (duration != nullptr) python_pool::call_hook(table, job_complete, arguments, 3);
    Py_XDECREF(duration);
    PyErr_Clear();
}

bool is_interrupt_of_this_thread() {
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) == 0 || !gil::is_main_thread()) return false;
    PyObject* const raised = errors::take_raised();
    PyObject* const judge = borrowed_class("loomy._reports", "is_interrupt");
    PyObject* const verdict = judge != nullptr ? PyObject_CallOneArg(judge, raised) : nullptr;
    const bool interrupt = verdict != Py_False; // in doubt it is the user who wants to stop
    Py_XDECREF(verdict);
    PyErr_Clear();
    errors::put_back(raised);
    return interrupt;
}

} // namespace loomy::py
