#include "executor_object.hpp"

#include "arguments.hpp"
#include "bound_call.hpp"
#include "deferred.hpp"
#include "errors.hpp"
#include "executor_map.hpp"
#include "future_object.hpp"
#include "gil.hpp"
#include "pool_object.hpp"
#include "process_exit.hpp"
#include "python_module.hpp"
#include "standard_library.hpp"
#include "submission.hpp"

namespace loomy::py {
namespace {

// The callable without arguments that the job is. New reference.
PyObject* bind(PyObject* const* args, Py_ssize_t count, PyObject* names) {
    // What cannot be called raises when the job runs, as in the standard library.
    if ((count == 1 && names == nullptr) || PyCallable_Check(args[0]) == 0) return Py_NewRef(args[0]);
    return make_bound_call(args, count, names);
}

PyObject* executor_submit(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    python_pool* const home = pool_of(self);
    if (home == nullptr) return nullptr;
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "Executor.submit() missing 1 required positional argument: 'fn'");
        say_as_standard_library("concurrent.futures", "ThreadPoolExecutor", "submit", self, args, count,
                                names);
        return nullptr;
    }
    deferred::drain();
    if (home->core->closed() || is_past_exit()) return raise_not_running(*home);
    PyObject* const payload = bind(args, count, names);
    if (payload == nullptr) return nullptr;
    context_snapshot snapshot = home->copy_context ? context_snapshot::take() : context_snapshot();
    async_result* const made =
        snapshot || !home->copy_context ? make_future(*home, payload, std::move(snapshot)) : nullptr;
    Py_DECREF(payload);
    if (made == nullptr) return nullptr;
    if (submit_result(*home, made, call_limits{}, false) > 0) return reinterpret_cast<PyObject*>(made);
    discard(made);
    return nullptr;
}

PyObject* executor_shutdown(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static const argument_names expected{"wait", "cancel_futures"};
    python_pool* const home = pool_of(self);
    PyObject* given[2] = {nullptr, nullptr};
    if (home == nullptr) return nullptr;
    if (!expected.parse("shutdown", args, count, names, 0, 1, given)) {
        say_as_standard_library("concurrent.futures", "ThreadPoolExecutor", "shutdown", self, args, count,
                                names);
        return nullptr;
    }
    const int wait = given[0] != nullptr ? PyObject_IsTrue(given[0]) : 1;
    const int cancel = given[1] != nullptr ? PyObject_IsTrue(given[1]) : 0;
    if (wait < 0 || cancel < 0) return nullptr;
    if (cancel != 0) {
        home->core->cancel_queued();
    } else {
        home->core->drain();
    }
    if (wait != 0 && (wait_for_size(*home, 0, deadline::never()) < 0 || join_threads_of(*home) < 0))
        return nullptr;
    Py_RETURN_NONE;
}

PyObject* get_broken(PyObject* self, void*) {
    python_pool* const home = pool_of(self);
    if (home == nullptr) return nullptr;
    if (!home->broken.load(std::memory_order_relaxed)) Py_RETURN_FALSE;
    return PyUnicode_FromString(broken_message);
}

PyObject* get_threads(PyObject* self, void*) {
    python_pool* const home = pool_of(self);
    return home != nullptr ? home->threads() : nullptr;
}

// Unlike a pool, an executor that nobody closed runs what was submitted, and has nothing to say.
void finalize(PyObject* self) {
    python_pool* const home = reinterpret_cast<pool_object*>(self)->home;
    if (home == nullptr) return;
    PyObject* const saved = errors::take_raised();
    home->core->drain();
    errors::put_back(saved);
}

PyMethodDef methods[] = {
    {"submit", as_method(executor_submit), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "submit($self, fn, /, *args, **kwargs)\n--\n\nQueue fn(*args, **kwargs) and return its Future at "
         "once.\n\nRaises RuntimeError after shutdown, BrokenThreadPool when an initializer failed, and, "
         "with max_pending and\non_full=\"raise\", PoolFull.")},
    {"shutdown", as_method(executor_shutdown), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "shutdown($self, wait=True, *, cancel_futures=False)\n--\n\nTake no more jobs; what was submitted "
         "is still run.\n\nwait: until that has been done and the threads have ended; can be "
         "interrupted with Ctrl-C. cancel_futures: cancel\nthe jobs that have not started. Idempotent, "
         "from any thread; inside one of the executor's own jobs it does not wait.")},
    {"set_max_workers", as_method(pool_set_size), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "set_max_workers($self, n, *, wait=True, timeout=None)\n--\n\nChange the number of workers, from "
         "any thread, also from inside a job.\n\nShrinking lets idle workers go first and loses no job. "
         "wait: until the workers have left (never inside the\nexecutor's own jobs); timeout: seconds, "
         "JobTimedOut when it passes.")},
    {"set_hooks", pool_set_hooks, METH_O,
     PyDoc_STR(
         "set_hooks($self, hooks, /)\n--\n\nReplace the hooks, from any thread, also from a hook. A job's "
         "payload is a callable without arguments: fn, or a\ncall of it with its arguments.")},
    {"_map", as_method(executor_map), METH_FASTCALL,
     PyDoc_STR("_map($self, fn, items, spread, end, /)\n--\n\nfn(item), or fn(*item) if spread, for each "
               "item: an iterator over the results in order.\nNone if the queue is bounded.")},
    {"_stats", pool_stats, METH_NOARGS, PyDoc_STR("_stats($self)\n--\n\nThe fields of PoolStats.")},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef properties[] = {
    {"max_workers", pool_get_size, nullptr, PyDoc_STR("Jobs that may run at once."), nullptr},
    {"queue_length", pool_get_queue_length, nullptr, PyDoc_STR("Jobs queued and not started."), nullptr},
    {"running", pool_get_running, nullptr, PyDoc_STR("Jobs started and not ended."), nullptr},
    {"name", pool_get_name, nullptr, PyDoc_STR("What the threads are called."), nullptr},
    {"_max_workers", pool_get_size, nullptr,
     PyDoc_STR("max_workers, for those who know the standard library's."), nullptr},
    {"_shutdown", pool_get_closed, nullptr, PyDoc_STR("Whether the executor has stopped taking jobs."),
     nullptr},
    {"_threads", get_threads, nullptr, PyDoc_STR("The worker threads, a set of threading.Thread."), nullptr},
    {"_broken", get_broken, nullptr, PyDoc_STR("Whether an initializer has failed."), nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyTypeObject executor_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

} // namespace

int register_executor(PyObject* module) {
    PyTypeObject& type = executor_type;
    type.tp_name = "loomy.ExecutorBase";
    type.tp_doc = PyDoc_STR("The native half of loomy.Executor.");
    fill_pool_slots(type);
    type.tp_finalize = finalize;
    type.tp_methods = methods;
    type.tp_getset = properties;
    if (PyType_Ready(&type) < 0) return -1;
    return PyModule_AddObjectRef(module, "ExecutorBase", reinterpret_cast<PyObject*>(&type));
}

} // namespace loomy::py
