#include "future_object.hpp"

#include <new>

#include "arguments.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "python_module.hpp"
#include "timeout.hpp"

namespace loomy::py {
namespace {

// loomy.Future: a class made in Python, because it has concurrent.futures.Future among its bases.
PyTypeObject* future_type = nullptr;

future_object* as_future(PyObject* self) noexcept {
    return static_cast<future_object*>(reinterpret_cast<async_result*>(self));
}

PyObject* as_object(future_object* self) noexcept {
    return reinterpret_cast<PyObject*>(static_cast<async_result*>(self));
}

python_job& job_of(PyObject* self) noexcept {
    return as_future(self)->job;
}

// A result of the parent's pool in the child of a fork will never come.
bool has_ended(python_job& job) noexcept {
    return job.finished() || job.home->core->dead();
}

// What the standard library looks at.

// Tells those who look at the future's condition that it has ended, unless they know. False with an error
// set.
bool settle(PyObject* self, PyObject* touched) {
    python_job& job = job_of(self);
    const char* const how = job.state() == phase::cancelled               ? "add_cancelled"
                            : job.state() == phase::done && !job.failed() ? "add_result"
                                                                          : "add_exception";
    PyObject* const nothing = PyObject_CallMethod(touched, "settle", "Os", self, how);
    Py_XDECREF(nothing);
    return nothing != nullptr;
}

// To be called before anything is said about a future that has ended: then its condition says the same.
bool settle_if_touched(PyObject* self) {
    // acquire: pairs with the exchange in touched_of.
    PyObject* const touched = as_future(self)->touched.load(std::memory_order_acquire);
    return touched == nullptr || settle(self, touched);
}

struct settle_listener : listener {
    PyObject* future;
};

void settle_now(listener& node) {
    auto* const self = static_cast<settle_listener*>(&node);
    const gil::attached scope;
    if (!scope) return; // the interpreter is gone, and with it who asked
    if (!settle_if_touched(self->future)) errors::report_unraisable("end of a future", self->future);
    Py_DECREF(self->future);
    delete self;
}

// Borrowed; made at the first call. Null with an error set.
PyObject* touched_of(PyObject* self) {
    std::atomic<PyObject*>& place = as_future(self)->touched;
    if (PyObject* const there = place.load(std::memory_order_acquire)) return there;
    PyObject* const kind = borrowed_class("loomy._futures", "Touched");
    PyObject* const made = kind != nullptr ? PyObject_CallNoArgs(kind) : nullptr;
    if (made == nullptr) return nullptr;
    auto* const node = new (std::nothrow) settle_listener{};
    if (node == nullptr) {
        Py_DECREF(made);
        return PyErr_NoMemory();
    }
    PyObject* nobody = nullptr;
    if (!place.compare_exchange_strong(nobody, made, std::memory_order_acq_rel, std::memory_order_acquire)) {
        delete node;
        Py_DECREF(made);
        return nobody;
    }
    node->call = &settle_now;
    node->future = Py_NewRef(self);
    // Published first: who finds it from now on and lists a waiter is told by this listener, or by this call.
    if (has_ended(job_of(self)) || !job_of(self).listen(*node)) settle_now(*node);
    return made;
}

PyObject* get_touched(PyObject* self, const char* name) {
    PyObject* const touched = touched_of(self);
    return touched != nullptr ? PyObject_GetAttrString(touched, name) : nullptr;
}

PyObject* get_condition(PyObject* self, void*) {
    return get_touched(self, "condition");
}

PyObject* get_waiters(PyObject* self, void*) {
    return get_touched(self, "waiters");
}

const char* state_word(python_job& job) noexcept {
    const phase now = job.state();
    if (now == phase::cancelled) return "CANCELLED_AND_NOTIFIED";
    if (has_ended(job)) return "FINISHED";
    return now == phase::pending ? "PENDING" : "RUNNING";
}

// Whoever holds the condition must see no end that has not been told to its waiters.
PyObject* get_state(PyObject* self, void*) {
    const char* const word = state_word(job_of(self));
    if (PyObject* const touched = as_future(self)->touched.load(std::memory_order_acquire)) {
        PyObject* const settled = PyObject_GetAttrString(touched, "state");
        if (settled != Py_None) return settled; // or null with the error set
        Py_DECREF(settled);
        if (has_ended(job_of(self))) return PyUnicode_FromString("RUNNING");
    }
    return PyUnicode_FromString(word);
}

PyObject* get_result(PyObject* self, void*) {
    python_job& job = job_of(self);
    if (job.state() == phase::done && !job.failed()) return job.answer();
    Py_RETURN_NONE;
}

PyObject* get_exception(PyObject* self, void*) {
    python_job& job = job_of(self);
    if (job.finished() && job.state() != phase::cancelled) return job.error();
    Py_RETURN_NONE;
}

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

// Waits as result(timeout) and exception(timeout) are asked to. True when the job has ended, else an error is
// set.
bool wait_as_asked(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names,
                   const char* what) {
    static const argument_names expected{"timeout"};
    PyObject* timeout = nullptr;
    if (!expected.parse(what, args, count, names, 0, 1, &timeout)) return false;
    deadline until;
    if (!parse_timeout(timeout, &until, "timeout")) return false;
    if (!job_of(self).finished()) {
        const int woken = wait_for(as_future(self), until);
        if (woken == 0) {
            PyErr_SetString(PyExc_TimeoutError,
                            "the job has not ended yet; it goes on, wait for it again or cancel() it");
        }
        if (woken <= 0) return false;
    }
    return settle_if_touched(self);
}

PyObject* future_result(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    return wait_as_asked(self, args, count, names, "result") ? job_of(self).answer() : nullptr;
}

PyObject* future_exception(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    if (!wait_as_asked(self, args, count, names, "exception")) return nullptr;
    // Here, unlike in an AsyncResult, a cancelled job has no exception: asking for it raises.
    return job_of(self).state() == phase::cancelled ? job_of(self).answer() : job_of(self).error();
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

PyObject* future_add_done_callback(PyObject* self, PyObject* callback) {
    return add_done_callback(as_future(self), callback);
}

PyObject* refuse_outcome(PyObject* self, PyObject*) {
    PyObject* const kind = borrowed_class("concurrent.futures", "InvalidStateError");
    if (kind != nullptr) {
        PyErr_Format(kind,
                     "the job behind %R sets its outcome itself; use concurrent.futures.Future() for a "
                     "future of your own",
                     self);
    }
    return nullptr;
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
         "CancelledError if the job was\ncancelled. Can be interrupted with Ctrl-C. Inside a job it runs "
         "queued jobs instead of blocking.")},
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
    {"add_done_callback", future_add_done_callback, METH_O,
     PyDoc_STR(
         "add_done_callback($self, fn, /)\n--\n\nCall fn(self) once the job has ended, on the thread that "
         "ends it, or at once if it has.\n\nAn Exception that fn raises is logged to "
         "concurrent.futures, anything else goes to sys.unraisablehook.")},
    {"set_result", refuse_outcome, METH_O,
     PyDoc_STR("set_result($self, result, /)\n--\n\nRaises InvalidStateError: the job sets its outcome.")},
    {"set_exception", refuse_outcome, METH_O,
     PyDoc_STR(
         "set_exception($self, exception, /)\n--\n\nRaises InvalidStateError: the job sets its outcome.")},
    {"set_running_or_notify_cancel", refuse_outcome, METH_NOARGS,
     PyDoc_STR(
         "set_running_or_notify_cancel($self)\n--\n\nRaises InvalidStateError: the executor does that.")},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, PyDoc_STR("Future[T], for type hints.")},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef properties[] = {
    {"_condition", get_condition, nullptr, PyDoc_STR("For concurrent.futures.wait and as_completed."),
     nullptr},
    {"_waiters", get_waiters, nullptr, PyDoc_STR("For concurrent.futures.wait and as_completed."), nullptr},
    {"_state", get_state, nullptr, PyDoc_STR("The state in the words of concurrent.futures."), nullptr},
    {"_result", get_result, nullptr, PyDoc_STR("The result, or None."), nullptr},
    {"_exception", get_exception, nullptr, PyDoc_STR("The exception, or None."), nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMethodDef functions[] = {
    {"_set_future_type", set_future_type, METH_O,
     PyDoc_STR("_set_future_type($module, type, /)\n--\n\nThe class of the futures that executors make.")},
    {nullptr, nullptr, 0, nullptr}};

} // namespace

PyTypeObject future_base_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

async_result* make_future(python_pool& home, PyObject* payload, context_snapshot* snapshot) {
    PyObject* const self = future_type->tp_alloc(future_type, 0);
    if (self == nullptr) {
        if (snapshot != nullptr) snapshot->release();
        return nullptr;
    }
    PyObject_GC_UnTrack(self); // until the job has ended: see async_result
    future_object* const future = as_future(self);
    new (&future->job) python_job(ref<python_pool>::share(&home), payload, snapshot);
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
    type.tp_methods = methods;
    type.tp_getset = properties;
    type.tp_weaklistoffset = offsetof(async_result, weak_references);
    if (PyType_Ready(&type) < 0 || PyModule_AddFunctions(module, functions) < 0) return -1;
    return PyModule_AddObjectRef(module, "FutureBase", reinterpret_cast<PyObject*>(&type));
}

} // namespace loomy::py
