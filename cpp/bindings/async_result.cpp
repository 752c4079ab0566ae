#include "async_result.hpp"

#include <array>
#include <new>

#include "arguments.hpp"
#include "async_result_future.hpp"
#include "awaiter.hpp"
#include "errors.hpp"
#include "future_object.hpp"
#include "gil.hpp"
#include "kernel_launch.hpp"
#include "python_batch.hpp"
#include "python_module.hpp"
#include "timeout.hpp"

namespace loomy::py {
namespace {

// Freed results are kept for the next ones: allocation is a fifth of what a short job costs. Only with the
// GIL, which guards the list; free-threaded builds have an allocator per thread that is as fast.
constexpr std::size_t most_spares = 256;
std::array<async_result*, most_spares> spares;
std::size_t spare_count = 0;

async_result* allocate() {
    if constexpr (!gil::is_free_threaded) {
        if (spare_count > 0) {
            async_result* const self = spares[--spare_count];
            (void)PyObject_Init(reinterpret_cast<PyObject*>(self), &async_result_type);
            self->weak_references = nullptr;
            return self;
        }
    }
    async_result* const self = PyObject_GC_New(async_result, &async_result_type);
    if (self == nullptr) return nullptr;
    self->weak_references = nullptr;
    return self;
}

// The object's life.

void log_unseen_error(python_job& job) {
    PyObject* const saved = errors::take_raised();
    PyObject* const report = borrowed_class("loomy._reports", "unseen_error");
    PyObject* const exception = report != nullptr ? job.error() : nullptr;
    if (exception != nullptr) {
        PyObject* const arguments[] = {job.home->name, exception};
        PyObject* const nothing = PyObject_Vectorcall(report, arguments, 2, nullptr);
        Py_XDECREF(nothing);
        Py_DECREF(exception);
    }
    if (PyErr_Occurred() != nullptr) errors::report_unraisable("AsyncResult", nullptr);
    errors::put_back(saved);
}

void finalize(PyObject* self) {
    as_result(self)->job.note_finalized();
    if (as_result(self)->job.has_unseen_error()) log_unseen_error(as_result(self)->job);
}

void dealloc(PyObject* self) {
    async_result* const result = as_result(self);
    if (result->job.has_unseen_error()) {
        if (PyObject_CallFinalizerFromDealloc(self) < 0) return; // somebody kept it after all
        result->job.note_error_was_seen();
    }
    if (PyObject_GC_IsTracked(self) != 0) PyObject_GC_UnTrack(self);
    if (result->weak_references != nullptr) PyObject_ClearWeakRefs(self);
    // While the job is queued or running the memory stays: the scheduler disposes of it.
    if (result->job.drop_owner()) free_async_result(result->job);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    return as_result(self)->job.traverse(visit, arg);
}

int clear(PyObject* self) {
    if (as_result(self)->job.finished()) as_result(self)->job.clear_outcome();
    return 0;
}

PyObject* represent(PyObject* self) {
    static constexpr const char* words[] = {"queued",    "running",   "running", "done",
                                            "cancelled", "timed out", "refused"};
    const python_job& job = as_result(self)->job;
    const bool queued = job.started && !job.finished() && !job.started->has_started();
    return PyUnicode_FromFormat("<loomy.AsyncResult of pool '%U': %s>", job.home->name,
                                queued ? words[0] : words[static_cast<std::size_t>(job.state())]);
}

// Methods.

PyObject* result_wait(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    if (count == 0 && names == nullptr && as_result(self)->job.finished())
        return as_result(self)->job.answer();
    return wait_as_asked(as_result(self), args, count, names, "wait") ? as_result(self)->job.answer()
                                                                      : nullptr;
}

PyObject* result_result(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject* const answer = result_wait(self, args, count, names);
    if (answer == nullptr && as_result(self)->job.finished()) raise_as_asyncio_expects(as_result(self)->job);
    return answer;
}

PyObject* result_exception(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    const bool ended = wait_as_asked(as_result(self), args, count, names, "exception");
    // Of a pool that died in a fork: done() is true, and that nothing will come is the exception.
    if (!ended)
        return is_dead(as_result(self)) && PyErr_ExceptionMatches(errors::pool_not_running())
                   ? errors::take_raised()
                   : nullptr;
    return error_as_asyncio_expects(as_result(self)->job.error());
}

PyObject* result_done(PyObject* self, PyObject*) {
    return PyBool_FromLong(as_result(self)->job.finished() || is_dead(as_result(self)));
}

PyObject* result_running(PyObject* self, PyObject*) {
    const python_job& job = as_result(self)->job;
    if (job.batch) return PyBool_FromLong(!job.finished() && job.batch->unclaimed() < job.batch->size());
    if (job.started) return PyBool_FromLong(!job.finished() && job.started->has_started());
    const phase now = job.state();
    return PyBool_FromLong(now == phase::running || now == phase::settling);
}

PyObject* result_cancelled(PyObject* self, PyObject*) {
    return PyBool_FromLong(as_result(self)->job.state() == phase::cancelled);
}

PyObject* result_cancel(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static const argument_names expected{"msg"};
    PyObject* message = nullptr; // of asyncio's futures; the job's error tells who cancelled it
    if (!expected.parse("cancel", args, count, names, 0, 1, &message)) return nullptr;
    return PyBool_FromLong(cancel_result(as_result(self)));
}

PyObject* result_await(PyObject* self) {
    return await_result(as_result(self));
}

PyMethodDef methods[] = {
    {"wait", as_method(result_wait), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "wait($self, timeout=None)\n--\n\nThe job's result, or its exception raised, as soon as it has "
         "ended.\n\n"
         "timeout: seconds, None for no limit. When it passes first, TimeoutError is raised and the job goes "
         "on.\nRaises what the job raised; JobCancelled, JobTimedOut, DeadlineExceeded, WorkerClosed, "
         "PoolNotRunning or WorkerPanic if it could not end by itself.\nCan be interrupted with Ctrl-C. "
         "Inside "
         "a job it runs queued jobs instead of blocking.")},
    {"result", as_method(result_result), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("result($self, timeout=None)\n--\n\nThe same as wait().\n\n"
               "Where an asyncio loop runs, the error of a cancelled job is an asyncio.CancelledError as "
               "well.")},
    {"exception", as_method(result_exception), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("exception($self, timeout=None)\n--\n\nThe job's exception as soon as it has ended, or None "
               "if it has a "
               "result.\n\ntimeout: seconds, None for no limit; TimeoutError when it passes first.")},
    {"done", result_done, METH_NOARGS,
     PyDoc_STR(
         "done($self)\n--\n\nWhether the job has ended: with a result, an error, cancelled or timed out.")},
    {"running", result_running, METH_NOARGS,
     PyDoc_STR("running($self)\n--\n\nWhether the job has started and not ended.")},
    {"cancelled", result_cancelled, METH_NOARGS,
     PyDoc_STR("cancelled($self)\n--\n\nWhether the job was cancelled.")},
    {"cancel", as_method(result_cancel), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "cancel($self, msg=None)\n--\n\nEnd the job from outside: if it is queued it will never run; if it "
         "runs, its "
         "context "
         "is cancelled and\nits worker interrupted, and whoever waits goes on at once. False if it had ended "
         "already.\nmsg is what asyncio gives its futures; it is not used.")},
    {"add_done_callback", as_method(result_add_done_callback), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "add_done_callback($self, callback, /, *, context=None)\n--\n\nCall callback(self) once the job "
         "has ended.\n\n"
         "Added where an asyncio loop runs, it is called by that loop, soon, as a future's would be; what it "
         "raises goes to\nthe loop's exception handler. Elsewhere it is called on the thread that ends the "
         "job, or at once if it has ended;\nwhat it raises goes to sys.unraisablehook.\n"
         "context: the contextvars context to call it in; a loop calls it in a copy of the current one "
         "otherwise.")},
    {"remove_done_callback", result_remove_done_callback, METH_O,
     PyDoc_STR("remove_done_callback($self, callback, /)\n--\n\nTake back callbacks that equal this one, "
               "and return how many there were.")},
    {"get_loop", result_get_loop, METH_NOARGS,
     PyDoc_STR("get_loop($self)\n--\n\nThe asyncio loop that runs on this thread: a result belongs to no "
               "loop, any may wait for it.\n\nRuntimeError where none runs.")},
    {"_make_cancelled_error", result_make_cancelled_error, METH_NOARGS,
     PyDoc_STR("_make_cancelled_error($self)\n--\n\nFor asyncio.gather: the CancelledError of a cancelled "
               "job.")},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     PyDoc_STR("AsyncResult[Out], for type hints.")},
    {nullptr, nullptr, 0, nullptr}};

// What asyncio takes for a future it does not wrap into a task, which would cost more than all the rest.
PyGetSetDef attributes[] = {
    {"_asyncio_future_blocking", result_get_blocking, nullptr,
     PyDoc_STR("False where an asyncio loop runs, else None: asyncio knows a future by this attribute."),
     nullptr},
    {"_cancel_message", result_get_cancel_message, nullptr, PyDoc_STR("None; for asyncio.gather."), nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyAsyncMethods async_methods = {result_await, nullptr, nullptr, nullptr};

} // namespace

PyTypeObject async_result_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

void track_if_cyclic(python_job& job, PyObject* outcome) {
    if (PyObject_IS_GC(outcome) == 0 || (job.word() & job::orphan) != 0) return;
    gil::track(reinterpret_cast<PyObject*>(result_of(job)));
}

async_result* result_of(python_job& job) noexcept {
    static const std::ptrdiff_t offset = [] {
        alignas(async_result) static unsigned char place[sizeof(async_result)];
        auto* const probe = reinterpret_cast<async_result*>(place);
        return reinterpret_cast<unsigned char*>(&probe->job) - place;
    }();
    return reinterpret_cast<async_result*>(reinterpret_cast<unsigned char*>(&job) - offset);
}

async_result* make_async_result(python_pool& home, PyObject* payload, context_snapshot snapshot) {
    async_result* const self = allocate();
    if (self == nullptr) return nullptr;
    new (&self->job) python_job(ref<python_pool>::share(&home), payload, std::move(snapshot));
    return self;
}

async_result* make_batch_result(python_pool& home, ref<python_batch> of) {
    async_result* const self = allocate();
    if (self != nullptr) new (&self->job) python_job(ref<python_pool>::share(&home), std::move(of));
    return self;
}

async_result* make_launch_result(python_pool& home, PyObject* kernel, job_handle<python_launch> of) {
    async_result* const self = allocate();
    if (self != nullptr) new (&self->job) python_job(ref<python_pool>::share(&home), kernel, std::move(of));
    return self;
}

void free_async_result(python_job& job) {
    if (Py_TYPE(reinterpret_cast<PyObject*>(result_of(job))) != &async_result_type) {
        free_future(job);
        return;
    }
    if (job.has_unseen_error()) log_unseen_error(job); // of a result that was dropped while its job ran
    async_result* const self = result_of(job);
    const bool reusable = !job.was_finalized();
    job.~python_job();
    if constexpr (!gil::is_free_threaded) {
        if (spare_count < most_spares && reusable) {
            spares[spare_count++] = self;
            return;
        }
    }
    PyObject_GC_Del(self);
}

bool cancel_result(async_result* self) {
    python_job& job = self->job;
    if (job.batch) return end_batch_result(job, phase::cancelled);
    if (job.started) return cancel_launch(job);
    return job.home->core->abandon(job, phase::cancelled) || job.state() == phase::cancelled;
}

PyObject* answer_outside_iteration(python_job& job) {
    PyObject* const answer = job.answer();
    if (answer == nullptr) errors::wrap_stop_iteration();
    return answer;
}

bool wait_as_asked(async_result* self, PyObject* const* args, Py_ssize_t count, PyObject* names,
                   const char* method) {
    static const argument_names expected{"timeout"};
    PyObject* timeout = nullptr;
    if (!expected.parse(method, args, count, names, 0, 1, &timeout)) return false;
    deadline until;
    if (!parse_timeout(timeout, &until, "timeout")) return false;
    if (self->job.finished()) return true;
    const int woken = wait_for(self, until);
    if (woken == 0) {
        PyErr_SetString(PyExc_TimeoutError,
                        "the job has not ended yet; it goes on, wait for it again or cancel() it");
    }
    return woken > 0;
}

int wait_for(async_result* self, deadline until) {
    python_job& job = self->job;
    pool& core = *job.home->core;
    if (core.dead() && !job.finished()) {
        PyErr_Format(
            errors::pool_not_running(),
            "the result belongs to pool '%U' of the parent process and will never come; submit again to a "
            "pool made in this process",
            job.home->name);
        return -1;
    }
    if (job.batch) {
        // Inside a job this helps with the batch; its answer follows within the same call.
        const int woken = gil::wait_detached(until, [&](deadline slice) {
            const wait_status status = core.wait(*job.batch, slice);
            return job.finished() ? wait_status::woken : status;
        });
        if (woken <= 0 || job.finished()) return woken;
    }
    if (job.started && frame::top() != nullptr) {
        const int woken = help_with_launch(job, until);
        if (woken <= 0 || job.finished()) return woken;
    }
    return gil::wait_detached(until, [&](deadline slice) { return core.wait(job, slice); });
}

int register_async_result(PyObject* module) {
    PyTypeObject& type = async_result_type;
    type.tp_name = "loomy.AsyncResult";
    type.tp_doc = PyDoc_STR(
        "The result of a job that may not have ended yet; made by Pool.process_async.\n\nIt can be awaited "
        "from any "
        "asyncio loop. An error nobody has looked at is logged when the result is collected.");
    type.tp_basicsize = sizeof(async_result);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION;
    type.tp_dealloc = dealloc;
    type.tp_finalize = finalize;
    type.tp_traverse = traverse;
    type.tp_clear = clear;
    type.tp_repr = represent;
    type.tp_methods = methods;
    type.tp_getset = attributes;
    type.tp_as_async = &async_methods;
    type.tp_weaklistoffset = offsetof(async_result, weak_references);
    if (PyType_Ready(&type) < 0) return -1;
    return PyModule_AddObjectRef(module, "AsyncResult", reinterpret_cast<PyObject*>(&type));
}

} // namespace loomy::py
