#include "executor_map.hpp"

#include <new>

#include "batch_submission.hpp"
#include "deferred.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "process_exit.hpp"
#include "timeout.hpp"

namespace loomy::py {
namespace {

// Behaves as the generator that the standard library's map returns.
struct executor_results {
    PyObject_HEAD PyObject* weak_references;
    python_batch* batch; // null at the end
    std::uint64_t next;
    deadline until;
    bool started;           // an iterator that nobody has used lets its jobs run when it goes
    std::atomic<bool> busy; // a thread is inside
};

PyTypeObject results_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

executor_results* as_results(PyObject* self) noexcept {
    return reinterpret_cast<executor_results*>(self);
}

// What has not started never will, unless the iterator has never been used.
void end(executor_results* self) {
    python_batch* const batch = std::exchange(self->batch, nullptr);
    if (batch == nullptr) return;
    PyObject* const saved = errors::take_raised();
    if (self->started && !batch->finished()) (void)batch->home->core->abandon(*batch, phase::cancelled);
    batch->release();
    errors::put_back(saved);
}

// 1: the item has an outcome or the batch has ended, 0: timed out, -1: a signal handler raised, or the pool
// died in a fork.
int wait_for_next(executor_results* self) {
    python_batch& batch = *self->batch;
    pool& core = *batch.home->core;
    if (core.dead()) {
        raise_not_running(*batch.home);
        return -1;
    }
    // A job that waits for others of its own runs this one if need be: never for a wait with a timeout, which
    // it might not keep.
    frame* const inside = self->until.is_never() ? frame::of(core) : nullptr;
    return gil::wait_detached(self->until, [&](deadline slice) {
        if (inside != nullptr) core.help_with_item(batch, self->next, *inside);
        return batch.outcomes().wait(self->next, slice, [&] { return batch.finished(); });
    });
}

PyObject* take_next(executor_results* self) {
    if (self->batch->outcomes().of(self->next) == batch_stream::outcome::none && !self->batch->finished()) {
        const int woken = wait_for_next(self);
        if (woken == 0) {
            PyErr_SetString(PyExc_TimeoutError,
                            "the timeout of map() passed before its results were there; "
                            "what had not started was cancelled");
        }
        if (woken <= 0) return nullptr;
    }
    PyObject* const result = self->batch->take_outcome(self->next);
    ++self->next;
    return result;
}

// False with an error set.
bool enter(executor_results* self) {
    if (!self->busy.exchange(true, std::memory_order_acquire)) return true;
    PyErr_SetString(PyExc_ValueError, "the results are being iterated over already, by another thread");
    return false;
}

PyObject* iterate(PyObject* object) {
    executor_results* const self = as_results(object);
    if (!enter(self)) return nullptr;
    self->started = true;
    PyObject* result = nullptr;
    if (self->batch != nullptr && self->next < self->batch->size()) result = take_next(self);
    if (result == nullptr) {
        end(self);
        errors::wrap_stop_iteration("generator raised StopIteration"); // here it is no generator's end
    }
    self->busy.store(false, std::memory_order_release);
    return result;
}

PyObject* close(PyObject* object, PyObject*) {
    if (!enter(as_results(object))) return nullptr;
    end(as_results(object));
    as_results(object)->busy.store(false, std::memory_order_release);
    Py_RETURN_NONE;
}

// While jobs are in flight the scheduler holds the batch as well, which the collector cannot know.
int traverse(PyObject* object, visitproc visit, void* arg) {
    const python_batch* const batch = as_results(object)->batch;
    return batch != nullptr && batch->finished() ? batch->traverse(visit, arg) : 0;
}

int clear(PyObject* object) {
    end(as_results(object));
    return 0;
}

void dealloc(PyObject* object) {
    PyObject_GC_UnTrack(object);
    if (as_results(object)->weak_references != nullptr) PyObject_ClearWeakRefs(object);
    end(as_results(object));
    PyObject_GC_Del(object);
}

PyMethodDef methods[] = {
    {"close", close, METH_NOARGS,
     PyDoc_STR(
         "close($self)\n--\n\nEnd the iteration; jobs that have not started are cancelled if it had begun.")},
    {nullptr, nullptr, 0, nullptr}};

} // namespace

PyObject* executor_map(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    python_pool* const home = pool_of(self);
    if (home == nullptr) return nullptr;
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "_map() takes a function, an iterable, a flag and a timeout");
        return nullptr;
    }
    deadline until;
    if (!parse_timeout(args[3], &until, "timeout")) return nullptr;
    batch_items items;
    if (!items.fill(args[1])) return nullptr;
    deferred::drain();
    if (home->core->closed() || is_past_exit()) return raise_not_running(*home);
    ref<python_batch> batch = make_batch(*home, std::move(items), call_limits{});
    if (!batch) return nullptr;
    try {
        batch->stream(args[0], args[2] == Py_True);
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
    executor_results* const results = PyObject_GC_New(executor_results, &results_type);
    if (results == nullptr) return nullptr;
    results->weak_references = nullptr;
    results->batch = nullptr;
    results->next = 0;
    results->until = until;
    results->started = false;
    new (&results->busy) std::atomic<bool>(false);
    if (batch->size() != 0 && submit_batch(*home, *batch, call_limits{}) < 0) {
        PyObject_GC_Del(results);
        return nullptr;
    }
    results->batch = batch.release();
    PyObject_GC_Track(reinterpret_cast<PyObject*>(results));
    return reinterpret_cast<PyObject*>(results);
}

int register_executor_map(PyObject*) {
    PyTypeObject& type = results_type;
    type.tp_name = "loomy.ExecutorResults";
    type.tp_doc = PyDoc_STR("The results of Executor.map, in order.");
    type.tp_basicsize = sizeof(executor_results);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION;
    type.tp_dealloc = dealloc;
    type.tp_traverse = traverse;
    type.tp_clear = clear;
    type.tp_iter = PyObject_SelfIter;
    type.tp_iternext = iterate;
    type.tp_methods = methods;
    type.tp_weaklistoffset = offsetof(executor_results, weak_references);
    return PyType_Ready(&type);
}

} // namespace loomy::py
