#include "pool_object.hpp"

#include <new>

#include "arguments.hpp"
#include "context.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "process_exit.hpp"
#include "python_module.hpp"
#include "timeout.hpp"

namespace loomy::py {
namespace {

pool_object* as_pool(PyObject* self) noexcept {
    return reinterpret_cast<pool_object*>(self);
}

// Construction.

bool word_is(PyObject* word, const char* text) noexcept {
    return PyUnicode_CompareWithASCIIString(word, text) == 0;
}

pool_kind kind_of(PyObject* word) noexcept {
    if (word_is(word, "workers")) return pool_kind::workers;
    if (word_is(word, "callbacks")) return pool_kind::callbacks;
    if (word_is(word, "executor")) return pool_kind::executor;
    return word_is(word, "context") ? pool_kind::context : pool_kind::function;
}

int init(PyObject* self, PyObject* args, PyObject* keywords) {
    PyObject *kind_word = nullptr, *target = nullptr, *name = nullptr, *hooks = nullptr,
             *max_pending = nullptr, *full_word = nullptr, *affinity_word = nullptr, *spin = nullptr;
    unsigned long size = 0;
    int copy_context = 1;
    if (keywords != nullptr && PyDict_GET_SIZE(keywords) != 0) {
        PyErr_SetString(PyExc_TypeError, "PoolBase takes no keyword arguments; make a loomy.Pool");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "UOkUOOUpUO:PoolBase", &kind_word, &target, &size, &name, &hooks,
                          &max_pending, &full_word, &copy_context, &affinity_word, &spin)) {
        return -1;
    }
    if (as_pool(self)->home != nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "this pool has been initialised already; make another one");
        return -1;
    }
    const pool_kind kind = kind_of(kind_word);
    pool_options options;
    if (max_pending != Py_None) {
        options.max_pending = PyLong_AsLongLong(max_pending);
        if (options.max_pending == -1 && PyErr_Occurred() != nullptr) {
            if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return -1;
            PyErr_Clear(); // as good as none
        }
    }
    if (spin != Py_None) {
        const double microseconds = PyFloat_AsDouble(spin);
        if (microseconds == -1.0 && PyErr_Occurred() != nullptr) return -1;
        options.spin_ns = microseconds < 1e6 ? static_cast<std::int64_t>(microseconds * 1e3) : 1'000'000'000;
    }
    options.interruptible = kind == pool_kind::workers;
    options.eager_threads = kind == pool_kind::workers;
    options.takes_turns = !gil::is_free_threaded;
    options.helps_with_others = kind != pool_kind::executor;
    const bool any = word_is(affinity_word, "any") && kind != pool_kind::workers;
    try {
        ref<python_pool> home = ref<python_pool>::adopt(new python_pool(kind, target, name, options, any));
        home->copy_context = copy_context != 0;
        home->on_full = word_is(full_word, "raise")         ? when_full::raise
                        : word_is(full_word, "caller_runs") ? when_full::caller_runs
                                                            : when_full::block;
        if (home->set_hooks(hooks) < 0) return -1;
        home->core->resize(static_cast<std::uint32_t>(size));
        as_pool(self)->home = home.release();
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

// The end of the object.

void finalize(PyObject* self) {
    python_pool* const home = as_pool(self)->home;
    if (home == nullptr || home->core->closed()) return;
    PyObject* const saved = errors::take_raised();
    if (!is_exiting() && home->core->stats().submitted != 0) {
        if (PyErr_ResourceWarning(
                self, 1,
                "pool '%U' was collected without being closed; use it in a with statement, or call "
                "shutdown() or close()",
                home->name) < 0) {
            errors::report_unraisable("finaliser of a pool", self);
        }
    }
    // Without waiting: this may be any thread, one of the pool's own jobs included.
    home->core->discard();
    errors::put_back(saved);
}

int clear(PyObject* self) {
    if (as_pool(self)->home != nullptr) as_pool(self)->home->clear();
    return 0;
}

void dealloc(PyObject* self) {
    if (PyObject_CallFinalizerFromDealloc(self) < 0) return;
    PyObject_GC_UnTrack(self);
    if (as_pool(self)->weak_references != nullptr) PyObject_ClearWeakRefs(self);
    python_pool* const home = as_pool(self)->home;
    as_pool(self)->home = nullptr;
    if (home != nullptr) {
        if (home->kind != pool_kind::executor) home->clear(); // an executor goes on until its jobs are done
        home->release();
    }
    Py_TYPE(self)->tp_free(self); // the reference to a subclass is the subclass's own dealloc's
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    return as_pool(self)->home != nullptr ? as_pool(self)->home->traverse(visit, arg) : 0;
}

PyObject* represent(PyObject* self) {
    const python_pool* const home = as_pool(self)->home;
    if (home == nullptr) return PyUnicode_FromFormat("<%s, not initialised>", Py_TYPE(self)->tp_name);
    return PyUnicode_FromFormat("<loomy.%s '%U': %s, size %u, %llu running, %llu queued>",
                                Py_TYPE(self)->tp_name, home->name, home->core->closed() ? "closed" : "open",
                                home->core->size(), static_cast<unsigned long long>(home->core->executing()),
                                static_cast<unsigned long long>(home->core->queue_length()));
}

PyObject* pool_is_inside(PyObject* self, PyObject*) {
    const python_pool* const home = pool_of(self);
    return home != nullptr ? PyBool_FromLong(frame::of(*home->core) != nullptr) : nullptr;
}

PyMethodDef methods[] = {
    {"process", as_method(pool_process), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "process($self, payload, *, timeout=None, ctx=None)\n--\n\nRun one job and return its result, or "
         "raise "
         "what it raised.\n\ntimeout: seconds from now. A job still queued when it passes never runs; a "
         "running "
         "one is asked to stop and this\ncall returns at once. ctx: a Context; its cancellation and deadline "
         "count too.\nRaises JobTimedOut, DeadlineExceeded, JobCancelled, PoolNotRunning, PoolFull, "
         "WorkerClosed, "
         "WorkerPanic.\n\nWith affinity=\"any\" and no limit the calling thread runs the job itself when a "
         "slot is "
         "free, as dispatch_sync of\nGrand Central Dispatch does. Blocks with the GIL released; Ctrl-C "
         "interrupts "
         "it.")},
    {"process_async", as_method(pool_process_async), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "process_async($self, payload, *, timeout=None, ctx=None)\n--\n\nQueue one job and return its "
         "AsyncResult at once.\n\ntimeout: seconds from now; ctx: a Context. Blocks, raises PoolFull "
         "or runs the "
         "job itself when a bounded queue is\nfull, as the pool's on_full says: an event loop is held up "
         "meanwhile, so with max_pending use\ntry_process_async() there, or on_full=\"raise\", or map(), "
         "which waits for a place without holding it up.\nRaises PoolNotRunning when the pool was "
         "closed.\n\nIn an event loop that runs inside a job the result can be awaited as well. If every "
         "slot of the pool is then held by a\njob that runs a loop, as the only one of a pool of size 1 is, "
         "the loop itself runs the job, and does nothing else\nmeanwhile.")},
    {"try_process_async", as_method(pool_try_process_async), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("try_process_async($self, payload, *, timeout=None, ctx=None)\n--\n\nAs process_async(), but "
               "None when "
               "the queue is full, whatever on_full says; never blocks.")},
    {"process_batch", as_method(pool_process_batch), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("process_batch($self, payloads, *, timeout=None, ctx=None)\n--\n\nRun one job for each "
               "payload of an "
               "iterable and return a BatchResult: results and errors in input order.\n\nOne bad payload "
               "never spoils "
               "the others. At the timeout (seconds) or when ctx ends, what has not ended has\nJobTimedOut, "
               "DeadlineExceeded or JobCancelled as its error.")},
    {"process_batch_async", as_method(pool_process_batch_async), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "process_batch_async($self, payloads, *, timeout=None, ctx=None)\n--\n\nQueue a batch and return an "
         "AsyncResult of its BatchResult at once.\n\nA batch takes one place in a bounded queue; when that "
         "is "
         "full, see process_async(). Cancelling it also cancels the\ncontexts of the items that run.")},
    {"map", as_method(pool_map), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "map($self, payloads, *, ordered=True, buffer=None, timeout=None, ctx=None)\n--\n\nIterate over the "
         "results, for use with for and async for.\n\nPulls at most buffer payloads ahead, so an endless "
         "generator "
         "works in constant memory. ordered=False yields as\njobs finish. The first failing job raises at "
         "its "
         "turn. Closing the iterator cancels what has not started.\ntimeout: seconds from now for the whole "
         "iteration.")},
    {"launch", as_method(pool_launch), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "launch($self, kernel, /, *args, n=None, chunks=None, grain=None, ctx=None, timeout=None)\n--\n\n"
         "Run a kernel over its iteration range, in chunks on the workers, and return an AsyncResult of None "
         "at once.\n\n"
         "n: the number of items, where the arguments do not tell it or there are to be fewer. chunks: cut "
         "it "
         "into so many\nchunks, whoever runs them and whatever the grain is. grain: fewest items in a chunk. "
         "timeout: seconds from\nnow; ctx: a Context.\n"
         "The arguments are checked first, TypeError, ValueError and BufferError name the one that is wrong, "
         "and are held\nuntil the last chunk has ended. A launch counts as one job, and no hooks are called "
         "for it.")},
    {"set_size", as_method(pool_set_size), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("set_size($self, n, *, wait=True, timeout=None)\n--\n\nGrow or shrink the pool, from any "
               "thread, also "
               "from inside a job or a hook.\n\nShrinking lets idle workers go first and loses no job. wait: "
               "until the "
               "workers have left (never inside the pool's\nown jobs); timeout: seconds, JobTimedOut when it "
               "passes.")},
    {"close", pool_close, METH_NOARGS,
     PyDoc_STR(
         "close($self)\n--\n\nStop taking jobs, fail what is queued with PoolNotRunning, let what is running "
         "finish, join the threads.\n\nIdempotent, from any thread. Inside one of the pool's own jobs or "
         "hooks it "
         "does not wait.")},
    {"shutdown", as_method(pool_shutdown), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "shutdown($self, timeout=None, *, ctx=None)\n--\n\nStop taking jobs, run what is queued, join the "
         "threads.\n\nAt the timeout (seconds), or when ctx ends, what is queued fails, the contexts of what "
         "is "
         "running are cancelled, and\nJobTimedOut, DeadlineExceeded or JobCancelled is raised, even if a job "
         "never "
         "returns.")},
    {"set_hooks", pool_set_hooks, METH_O,
     PyDoc_STR("set_hooks($self, hooks)\n--\n\nReplace the hooks (None: no hooks), for existing workers too, "
               "from any "
               "thread, also from a hook.")},
    {"_is_inside", pool_is_inside, METH_NOARGS,
     PyDoc_STR("_is_inside($self)\n--\n\nWhether the calling thread runs a job of this pool.")},
    {"_stats", pool_stats, METH_NOARGS, PyDoc_STR("_stats($self)\n--\n\nThe numbers behind stats().")},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     PyDoc_STR("PoolBase[In, Out], for type hints.")},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef properties[] = {
    {"size", pool_get_size, pool_assign_size,
     PyDoc_STR("Jobs that may run at once, an int. Assigning waits until the pool has that size, as "
               "set_size() does."),
     nullptr},
    {"queue_length", pool_get_queue_length, nullptr,
     PyDoc_STR("Payloads queued and not started, those of batches included."), nullptr},
    {"running", pool_get_running, nullptr,
     PyDoc_STR("Payloads whose function has started and not returned, abandoned ones included."), nullptr},
    {"name", pool_get_name, nullptr, PyDoc_STR("What the pool's threads are called."), nullptr},
    {"closed", pool_get_closed, nullptr, PyDoc_STR("Whether the pool has stopped taking jobs."), nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyTypeObject pool_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

} // namespace

python_pool* pool_of(PyObject* self) {
    python_pool* const home = as_pool(self)->home;
    if (home == nullptr) {
        PyErr_Format(PyExc_RuntimeError,
                     "the %.100s was not initialised: call super().__init__() in its __init__",
                     Py_TYPE(self)->tp_name);
    }
    return home;
}

void fill_pool_slots(PyTypeObject& type) {
    type.tp_basicsize = sizeof(pool_object);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC;
    type.tp_new = PyType_GenericNew;
    type.tp_init = init;
    type.tp_dealloc = dealloc;
    type.tp_traverse = traverse;
    type.tp_clear = clear;
    type.tp_repr = represent;
    type.tp_weaklistoffset = offsetof(pool_object, weak_references);
}

int register_pool(PyObject* module) {
    PyTypeObject& type = pool_type;
    type.tp_name = "loomy.PoolBase";
    type.tp_doc = PyDoc_STR("Queue, workers and lifecycle of a pool; make a loomy.Pool.");
    fill_pool_slots(type);
    type.tp_finalize = finalize;
    type.tp_methods = methods;
    type.tp_getset = properties;
    if (PyType_Ready(&type) < 0) return -1;
    return PyModule_AddObjectRef(module, "PoolBase", reinterpret_cast<PyObject*>(&type));
}

} // namespace loomy::py
