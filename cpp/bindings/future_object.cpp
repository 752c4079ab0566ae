#include "future_object.hpp"

#include <new>

#include "arguments.hpp"
#include "async_result_future.hpp"
#include "errors.hpp"
#include "future_view.hpp"
#include "gil.hpp"
#include "python_module.hpp"
#include "standard_library.hpp"

namespace loomy::py {
namespace {

// loomy.Future: a class made in Python, because it has concurrent.futures.Future among its bases.
PyTypeObject* future_type = nullptr;

// The object's life.

PyObject* refuse_new(PyTypeObject*, PyObject*, PyObject*) {
    PyErr_SetString(PyExc_TypeError,
                    "loomy.Future objects are made by Executor.submit(); for a future of your own use "
                    "concurrent.futures.Future()");
    return nullptr;
}

void dealloc(PyObject* self) {
    future_object* const future = as_future(self);
    if (PyObject_GC_IsTracked(self) != 0) PyObject_GC_UnTrack(self);
    if (future->weak_references != nullptr) PyObject_ClearWeakRefs(self);
    Py_XDECREF(future->touched.exchange(nullptr, std::memory_order_acq_rel));
    // While the job is queued or running the memory stays: the scheduler disposes of it.
    if (future->job.drop_owner()) free_future(future->job);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    PyObject* const touched = as_future(self)->touched.load(std::memory_order_relaxed);
    Py_VISIT(touched);
    return job_of(self).traverse(visit, arg);
}

int clear(PyObject* self) {
    if (job_of(self).finished()) job_of(self).clear_outcome();
    return 0;
}

// An attribute of the user's own may be part of a cycle.
int set_attribute(PyObject* self, PyObject* name, PyObject* value) {
    if (PyObject_GenericSetAttr(self, name, value) < 0) return -1;
    return show_to_collector(self) ? 0 : -1;
}

// As the standard library's.
PyObject* represent(PyObject* self) {
    python_job& job = job_of(self);
    const char* const name = Py_TYPE(self)->tp_name;
    const phase now = job.state();
    if (now == phase::done) {
        PyObject* const outcome = job.failed() ? job.error() : job.answer();
        if (outcome == nullptr) return nullptr;
        PyObject* const text =
            PyUnicode_FromFormat("<%s at %p state=finished %s %s>", name, self,
                                 job.failed() ? "raised" : "returned", Py_TYPE(outcome)->tp_name);
        Py_DECREF(outcome);
        return text;
    }
    const char* const word = now == phase::pending     ? "pending"
                             : now == phase::cancelled ? "cancelled"
                             : job.finished()          ? "finished"
                                                       : "running";
    return PyUnicode_FromFormat("<%s at %p state=%s>", name, self, word);
}

// Methods.

// Waits as the methods with the one argument `timeout` are asked to; then the condition, if somebody looks at
// it, says the same. True when the job has finished, else an error is set.
bool wait_and_settle(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names,
                     const char* method) {
    static const argument_names expected{"timeout"};
    PyObject* timeout = nullptr;
    if (!expected.parse(method, args, count, names, 0, 1, &timeout)) {
        say_as_standard_library("concurrent.futures", "Future", method, self, args, count, names);
        return false;
    }
    if (job_of(self).finished()) return settle_if_touched(self); // nobody looks at the timeout
    deadline until;
    if (!parse_standard_timeout(timeout, &until)) return false;
    const int woken = wait_for(as_future(self), until);
    if (woken == 0) PyErr_SetNone(PyExc_TimeoutError);
    return woken > 0 && settle_if_touched(self);
}

// The one argument of a method that has no other. Borrowed; null with an error set.
PyObject* one_argument(const argument_names& expected, const char* method, PyObject* self,
                       PyObject* const* args, Py_ssize_t count, PyObject* names) {
    if (count == 1 && names == nullptr) return args[0];
    PyObject* given = nullptr;
    if (expected.parse(method, args, count, names, 1, 1, &given)) return given;
    say_as_standard_library("concurrent.futures", "Future", method, self, args, count, names);
    return nullptr;
}

PyObject* future_result(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    return wait_and_settle(self, args, count, names, "result") ? job_of(self).answer() : nullptr;
}

PyObject* future_exception(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    if (!wait_and_settle(self, args, count, names, "exception")) return nullptr;
    // Here, unlike in an AsyncResult, a cancelled job has no exception: asking for it raises.
    if (job_of(self).state() == phase::cancelled) return job_of(self).answer();
    // asyncio's wrappers ask where their loop runs. Some versions do not wrap a StopIteration, and never
    // wake.
    return error_as_asyncio_expects(job_of(self).error());
}

PyObject* future_done(PyObject* self, PyObject*) {
    const bool ended = has_ended(job_of(self));
    if (ended && !settle_if_touched(self)) return nullptr;
    return PyBool_FromLong(ended);
}

PyObject* future_running(PyObject* self, PyObject*) {
    const phase now = job_of(self).state();
    return PyBool_FromLong((now == phase::running || now == phase::settling) && !has_ended(job_of(self)));
}

PyObject* future_cancelled(PyObject* self, PyObject*) {
    const bool cancelled = job_of(self).state() == phase::cancelled;
    if (cancelled && !settle_if_touched(self)) return nullptr;
    return PyBool_FromLong(cancelled);
}

PyObject* future_cancel(PyObject* self, PyObject*) {
    python_job& job = job_of(self);
    if (job.home->core->abandon_queued(job, phase::cancelled) || job.state() == phase::cancelled) {
        if (!settle_if_touched(self)) return nullptr;
        Py_RETURN_TRUE;
    }
    // It runs, and has its answer to give; but it may like to know.
    if (job.request_stop()) job.cancel_running(cancel_reason::cancelled);
    Py_RETURN_FALSE;
}

PyObject* future_add_done_callback(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static const argument_names expected{"fn"};
    PyObject* const callback = one_argument(expected, "add_done_callback", self, args, count, names);
    return callback != nullptr ? add_done_callback(as_future(self), callback) : nullptr;
}

PyObject* future_get_snapshot(PyObject* self, PyObject*) {
    python_job& job = job_of(self);
    const bool ended = has_ended(job);
    if (ended && !settle_if_touched(self)) return nullptr;
    const bool cancelled = job.state() == phase::cancelled;
    PyObject* const result = ended && job.has_result() ? job.answer() : Py_NewRef(Py_None);
    PyObject* const error = ended && !cancelled && job.finished() ? job.error() : Py_NewRef(Py_None);
    PyObject* const snapshot =
        result != nullptr && error != nullptr
            ? PyTuple_Pack(4, ended ? Py_True : Py_False, cancelled ? Py_True : Py_False, result, error)
            : nullptr;
    Py_XDECREF(result);
    Py_XDECREF(error);
    return snapshot;
}

PyObject* refuse_outcome(PyObject* self, PyObject*) {
    PyObject* const kind = borrowed_class("concurrent.futures", "InvalidStateError");
    if (kind != nullptr && has_ended(job_of(self))) {
        PyObject* const state = PyObject_GetAttrString(self, "_state");
        if (state != nullptr) PyErr_Format(kind, "%U: %R", state, self); // as the standard library's
        Py_XDECREF(state);
    } else if (kind != nullptr) {
        PyErr_Format(kind,
                     "the job behind %R sets its outcome itself; use concurrent.futures.Future() for a "
                     "future of your own",
                     self);
    }
    return nullptr;
}

// A cancelled future says so, to as many as ask; of the rest only a queued one could be begun, which is the
// executor's to do.
PyObject* set_running_or_notify_cancel(PyObject* self, PyObject*) {
    const phase now = job_of(self).state();
    if (now == phase::cancelled) return settle_if_touched(self) ? Py_NewRef(Py_False) : nullptr;
    if (now == phase::pending && !has_ended(job_of(self))) return refuse_outcome(self, nullptr);
    PyObject* const state = PyObject_GetAttrString(self, "_state");
    PyObject* const report =
        state != nullptr ? borrowed_class("loomy._reports", "unexpected_state") : nullptr;
    PyObject* const arguments[] = {self, state};
    PyObject* const told = report != nullptr ? PyObject_Vectorcall(report, arguments, 2, nullptr) : nullptr;
    if (told != nullptr) PyErr_SetString(PyExc_RuntimeError, "Future in unexpected state");
    Py_XDECREF(told);
    Py_XDECREF(state);
    return nullptr;
}

PyObject* refuse_result(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static const argument_names expected{"result"};
    PyObject* const result = one_argument(expected, "set_result", self, args, count, names);
    return result != nullptr ? refuse_outcome(self, nullptr) : nullptr;
}

PyObject* refuse_exception(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static const argument_names expected{"exception"};
    PyObject* const exception = one_argument(expected, "set_exception", self, args, count, names);
    return exception != nullptr ? refuse_outcome(self, nullptr) : nullptr;
}

PyObject* set_future_type(PyObject*, PyObject* type) {
    if (PyType_Check(type) == 0 ||
        PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type), &future_base_type) == 0) {
        PyErr_SetString(PyExc_TypeError, "_set_future_type() takes a subclass of FutureBase");
        return nullptr;
    }
    Py_INCREF(type);
    Py_XDECREF(
        reinterpret_cast<PyObject*>(std::exchange(future_type, reinterpret_cast<PyTypeObject*>(type))));
    Py_RETURN_NONE;
}

PyMethodDef methods[] = {
    {"result", as_method(future_result), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "result($self, timeout=None)\n--\n\nThe job's result, or its exception raised, as soon as it has "
         "ended.\n\ntimeout: seconds, None for no limit; TimeoutError when it passes first. Raises "
         "CancelledError if the job was\ncancelled. Can be interrupted with Ctrl-C. Inside a job of the same "
         "executor it runs the awaited job itself, if that\nis still queued and there is no timeout.")},
    {"exception", as_method(future_exception), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "exception($self, timeout=None)\n--\n\nThe job's exception as soon as it has ended, or None if "
         "it has a result.\n\ntimeout: seconds, None for no limit; TimeoutError when it passes first. "
         "Raises CancelledError if the job was\ncancelled.")},
    {"done", future_done, METH_NOARGS,
     PyDoc_STR("done($self)\n--\n\nWhether the job has ended or was cancelled.")},
    {"running", future_running, METH_NOARGS,
     PyDoc_STR("running($self)\n--\n\nWhether the job has started and not ended.")},
    {"cancelled", future_cancelled, METH_NOARGS,
     PyDoc_STR("cancelled($self)\n--\n\nWhether the job was cancelled before it started.")},
    {"cancel", future_cancel, METH_NOARGS,
     PyDoc_STR(
         "cancel($self)\n--\n\nCancel the job if it has not started: True, and it never will.\n\nFalse if "
         "it has. A job that is running is asked to stop: its loomy.current_context() is cancelled.")},
    {"add_done_callback", as_method(future_add_done_callback), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "add_done_callback($self, fn)\n--\n\nCall fn(self) once the job has ended, on the thread that "
         "ends it, or at once if it has.\n\nAn Exception that fn raises is logged to "
         "concurrent.futures; anything else goes to sys.unraisablehook, or to the caller if\nit is called at "
         "once.")},
    {"_get_snapshot", future_get_snapshot, METH_NOARGS,
     PyDoc_STR(
         "_get_snapshot($self)\n--\n\nPython 3.14's: done, cancelled, result and exception, as they are "
         "at one moment.")},
    {"set_result", as_method(refuse_result), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("set_result($self, result)\n--\n\nRaises InvalidStateError: the job sets its outcome.")},
    {"set_exception", as_method(refuse_exception), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("set_exception($self, exception)\n--\n\nRaises InvalidStateError: the job sets its outcome.")},
    {"set_running_or_notify_cancel", set_running_or_notify_cancel, METH_NOARGS,
     PyDoc_STR(
         "set_running_or_notify_cancel($self)\n--\n\nFalse if the job was cancelled, RuntimeError if it "
         "has started. Raises InvalidStateError if it is queued: to begin\nit is for the executor.")},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, PyDoc_STR("Future[T], for type hints.")},
    {nullptr, nullptr, 0, nullptr}};

PyMethodDef functions[] = {
    {"_set_future_type", set_future_type, METH_O,
     PyDoc_STR("_set_future_type($module, type, /)\n--\n\nThe class of the futures that executors make.")},
    {nullptr, nullptr, 0, nullptr}};

} // namespace

PyTypeObject future_base_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

async_result* make_future(python_pool& home, PyObject* payload, context_snapshot snapshot) {
    PyObject* const self = future_type->tp_alloc(future_type, 0);
    if (self == nullptr) return nullptr;
    PyObject_GC_UnTrack(self); // until the job has ended: see async_result
    future_object* const future = as_future(self);
    new (&future->job) python_job(ref<python_pool>::share(&home), payload, std::move(snapshot));
    new (&future->touched) std::atomic<PyObject*>(nullptr);
    future->job.note_error_was_seen(); // nobody is told of errors nobody asks for, as in the standard library
    return future;
}

void free_future(python_job& job) {
    PyObject* const self = reinterpret_cast<PyObject*>(result_of(job));
    job.~python_job();
    PyObject_GC_Del(self);
}

int register_future(PyObject* module) {
    PyTypeObject& type = future_base_type;
    type.tp_name = "loomy.FutureBase";
    type.tp_doc = PyDoc_STR("The native half of loomy.Future.");
    type.tp_basicsize = sizeof(future_object);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC;
    type.tp_new = refuse_new;
    type.tp_dealloc = dealloc;
    type.tp_traverse = traverse;
    type.tp_clear = clear;
    type.tp_repr = represent;
    type.tp_setattro = set_attribute;
    type.tp_methods = methods;
    type.tp_getset = standard_library_view;
    type.tp_weaklistoffset = offsetof(async_result, weak_references);
    if (PyType_Ready(&type) < 0 || PyModule_AddFunctions(module, functions) < 0) return -1;
    return PyModule_AddObjectRef(module, "FutureBase", reinterpret_cast<PyObject*>(&type));
}

} // namespace loomy::py
