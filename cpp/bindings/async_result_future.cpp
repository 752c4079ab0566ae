#include "async_result_future.hpp"

#include <new>
#include <vector>

#include "arguments.hpp"
#include "async_result.hpp"
#include "errors.hpp"
#include "event_loop.hpp"
#include "future_view.hpp"
#include "gil.hpp"
#include "python_module.hpp"

namespace loomy::py {
namespace {

// A Python callable that is to be called with the result, on the thread that ends the job. Owns all three
// until then.
struct thread_call : listener {
    PyObject* callback;
    PyObject* result;
    PyObject* context; // may be null
};

void destroy(thread_call* self) {
    Py_DECREF(self->callback);
    Py_DECREF(self->result);
    Py_XDECREF(self->context);
    delete self;
}

// A future's callbacks fail as in the standard library: an Exception is logged.
void log_callback_error(PyObject* future) {
    if (PyErr_ExceptionMatches(PyExc_Exception) == 0) return;
    PyObject* const error = errors::take_raised();
    PyObject* const report = borrowed_class("loomy._reports", "callback_error");
    PyObject* const arguments[] = {future, error};
    PyObject* const nothing =
        report != nullptr ? PyObject_Vectorcall(report, arguments, 2, nullptr) : nullptr;
    Py_XDECREF(nothing);
    Py_DECREF(error);
}

bool is_future(PyObject* result) noexcept {
    return Py_TYPE(result) != &async_result_type;
}

// Null with an error set that is not a future's callback's own business.
PyObject* call_back(PyObject* callback, PyObject* result) {
    // What the callback looks at says that it has ended, whoever comes first.
    if (is_future(result) && !settle_if_touched(result)) return nullptr;
    PyObject* const nothing = PyObject_CallOneArg(callback, result);
    if (nothing != nullptr || !is_future(result)) return nothing;
    log_callback_error(result);
    return PyErr_Occurred() == nullptr ? Py_NewRef(Py_None) : nullptr;
}

void job_ended(listener& node) {
    auto* const self = static_cast<thread_call*>(&node);
    const gil::attached scope;
    if (!scope) return; // the interpreter is gone, and with it who asked
    if (self->context == nullptr || PyContext_Enter(self->context) == 0) {
        PyObject* const nothing = call_back(self->callback, self->result);
        if (nothing == nullptr) errors::report_unraisable("done callback", self->callback);
        Py_XDECREF(nothing);
        if (self->context != nullptr && PyContext_Exit(self->context) != 0) PyErr_Clear();
    } else {
        errors::report_unraisable("done callback", self->callback);
    }
    destroy(self);
}

// The callable of a listener that is one of ours, or null. Borrowed.
PyObject* callback_of(const listener& node) noexcept {
    if (node.call == &job_ended) return static_cast<const thread_call&>(node).callback;
    if (node.call == &loop_call::job_ended) return static_cast<const loop_call&>(node).callback;
    return nullptr;
}

void destroy(listener* node) {
    if (node->call == &job_ended) {
        destroy(static_cast<thread_call*>(node));
    } else {
        delete static_cast<loop_call*>(node);
    }
}

bool check_callable(PyObject* callback) {
    if (PyCallable_Check(callback) != 0) return true;
    PyErr_Format(PyExc_TypeError, "add_done_callback() takes a callable of one argument, not %.100s",
                 Py_TYPE(callback)->tp_name);
    return false;
}

int add_for_thread(PyObject* self, PyObject* callback, PyObject* context) {
    auto* const node = new (std::nothrow) thread_call{};
    if (node == nullptr) {
        PyErr_NoMemory();
        return -1;
    }
    node->call = &job_ended;
    node->callback = Py_NewRef(callback);
    node->result = Py_NewRef(self);
    node->context = Py_XNewRef(context);
    const bool dead = is_future(self) && is_dead(as_result(self)); // then nobody will ever tell
    if (!dead && as_result(self)->job.listen(*node)) return 0;
    if (!is_future(self)) {
        job_ended(*node);
        return 0;
    }
    destroy(node);
    PyObject* const nothing = call_back(callback, self); // what a future's raises is the caller's
    Py_XDECREF(nothing);
    return nothing != nullptr ? 0 : -1;
}

int add_for_loop(PyObject* self, event_loop& to, PyObject* callback, PyObject* context) {
    loop_call* const node = loop_call::make(&to, callback, self, context);
    if (node == nullptr) return -1;
    if (is_dead(as_result(self)) || !as_result(self)->job.listen(*node)) to.post(*node);
    return 0;
}

PyObject* cancelled_error(python_job& job, const char* kind) {
    PyObject* const cause = job.abandoned_error(phase::cancelled);
    PyObject* const make = cause != nullptr ? borrowed_class("loomy._asyncio_bridge", kind) : nullptr;
    PyObject* const error = make != nullptr ? PyObject_CallOneArg(make, cause) : nullptr;
    Py_XDECREF(cause);
    return error;
}

} // namespace

PyObject* add_done_callback(async_result* self, PyObject* callback) {
    if (add_for_thread(reinterpret_cast<PyObject*>(self), callback, nullptr) < 0) return nullptr;
    Py_RETURN_NONE;
}

PyObject* result_add_done_callback(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static const argument_names expected{"callback", "context"};
    PyObject* given[2] = {nullptr, nullptr};
    if (count == 1 && names == nullptr) {
        given[0] = args[0];
    } else if (!expected.parse("add_done_callback", args, count, names, 1, 1, given)) {
        return nullptr;
    }
    PyObject* const callback = given[0];
    PyObject* const context = given[1] == Py_None ? nullptr : given[1];
    if (!check_callable(callback)) return nullptr;
    if (context != nullptr && PyContext_CheckExact(context) == 0) {
        PyErr_Format(PyExc_TypeError, "context must be a contextvars.Context, not %.100s",
                     Py_TYPE(context)->tp_name);
        return nullptr;
    }
    event_loop* const loop = running_event_loop();
    if (loop == nullptr && PyErr_Occurred() != nullptr) return nullptr;
    const int added = loop != nullptr ? add_for_loop(self, *loop, callback, context)
                                      : add_for_thread(self, callback, context);
    Py_XDECREF(reinterpret_cast<PyObject*>(loop));
    if (added < 0) return nullptr;
    Py_RETURN_NONE;
}

PyObject* result_remove_done_callback(PyObject* self, PyObject* callback) {
    python_job& job = as_result(self)->job;
    // Whether two callables are equal is for Python to say, which must not run under the lock: first see
    // which there are, then take off the list those that are equal, which are known by their address.
    // Nor may memory be asked for under it; what is listed after the count was added after this call began.
    std::size_t count = 0;
    (void)job.take_listener([&](const listener& node) {
        count += callback_of(node) != nullptr ? 1 : 0;
        return false;
    });
    std::vector<PyObject*> listed;
    try {
        listed.reserve(count);
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
    (void)job.take_listener([&](const listener& node) {
        PyObject* const one = callback_of(node);
        if (one != nullptr && listed.size() < count) listed.push_back(Py_NewRef(one));
        return false;
    });
    Py_ssize_t removed = 0;
    bool failed = false;
    for (PyObject* const one : listed) {
        const int equal = failed ? 0 : PyObject_RichCompareBool(one, callback, Py_EQ);
        failed = failed || equal < 0;
        if (equal > 0) {
            listener* const node =
                job.take_listener([one](const listener& other) { return callback_of(other) == one; });
            if (node != nullptr) {
                ++removed;
                destroy(node);
            }
        }
        Py_DECREF(one);
    }
    return failed ? nullptr : PyLong_FromSsize_t(removed);
}

PyObject* result_get_loop(PyObject*, PyObject*) {
    event_loop* const running = running_event_loop();
    PyObject* const loop = running != nullptr ? loop_of(*running) : nullptr;
    Py_XDECREF(reinterpret_cast<PyObject*>(running));
    if (loop == nullptr && PyErr_Occurred() == nullptr) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a job's result belongs to no event loop, and none runs on this thread; await it in "
                        "a coroutine, or call its wait()");
    }
    return loop;
}

PyObject* result_make_cancelled_error(PyObject* self, PyObject*) {
    return cancelled_error(as_result(self)->job, "task_cancelled");
}

// None where no loop runs: to asyncio it is no future there, but an awaitable, which ensure_future, gather
// and run_until_complete make a task of for a loop that is yet to run. Which loop a future is of, asyncio
// would ask.
PyObject* result_get_blocking(PyObject*, void*) {
    event_loop* const loop = running_event_loop();
    if (loop == nullptr) return PyErr_Occurred() == nullptr ? Py_NewRef(Py_None) : nullptr;
    Py_DECREF(reinterpret_cast<PyObject*>(loop));
    Py_RETURN_FALSE;
}

PyObject* result_get_cancel_message(PyObject*, void*) {
    Py_RETURN_NONE;
}

void raise_as_asyncio_expects(python_job& job) {
    const bool cancelled = job.state() == phase::cancelled;
    if (!cancelled && PyErr_ExceptionMatches(PyExc_StopIteration) == 0) return;
    PyObject* const raised = errors::take_raised();
    event_loop* const loop = running_event_loop();
    PyObject* const other = loop != nullptr && cancelled ? cancelled_error(job, "CancelledJob") : nullptr;
    if (PyErr_Occurred() == nullptr) errors::raise(other != nullptr ? other : raised);
    if (loop != nullptr && !cancelled) errors::wrap_stop_iteration();
    Py_XDECREF(other);
    Py_XDECREF(reinterpret_cast<PyObject*>(loop));
    Py_DECREF(raised);
}

PyObject* error_as_asyncio_expects(PyObject* error) {
    if (error == nullptr || PyErr_GivenExceptionMatches(error, PyExc_StopIteration) == 0) return error;
    event_loop* const loop = running_event_loop();
    if (loop == nullptr) {
        if (PyErr_Occurred() == nullptr) return error;
        Py_DECREF(error);
        return nullptr;
    }
    Py_DECREF(reinterpret_cast<PyObject*>(loop));
    errors::put_back(error);
    errors::wrap_stop_iteration();
    return errors::take_raised();
}

} // namespace loomy::py
