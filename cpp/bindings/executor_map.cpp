#include "executor_map.hpp"

#include <new>

#include "arguments.hpp"
#include "batch_submission.hpp"
#include "deferred.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "process_exit.hpp"
#include "standard_library.hpp"

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
        if (woken == 0) PyErr_SetNone(PyExc_TimeoutError);
        if (woken <= 0) return nullptr;
    }
    PyObject* const result = self->batch->take_outcome(self->next);
    ++self->next;
    return result;
}

// False with an error set.
bool enter(executor_results* self) {
    if (!self->busy.exchange(true, std::memory_order_acquire)) return true;
    PyErr_SetString(PyExc_ValueError, "generator already executing");
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

PyObject* send(PyObject* object, PyObject* value) {
    if (value != Py_None && !as_results(object)->started && as_results(object)->batch != nullptr) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started generator");
        return nullptr;
    }
    PyObject* const result = iterate(object);
    if (result == nullptr && PyErr_Occurred() == nullptr) PyErr_SetNone(PyExc_StopIteration);
    return result;
}

// What throw(kind, value) is to raise. New reference, or null with an error set.
PyObject* exception_of(PyObject* kind, PyObject* value) {
    if (PyExceptionInstance_Check(kind)) {
        if (value == Py_None) return Py_NewRef(kind);
        PyErr_SetString(PyExc_TypeError, "instance exception may not have a separate value");
        return nullptr;
    }
    if (!PyExceptionClass_Check(kind)) {
        return PyErr_Format(PyExc_TypeError,
                            "exceptions must be classes or instances deriving from BaseException, not %s",
                            Py_TYPE(kind)->tp_name);
    }
    if (value == Py_None) return PyObject_CallNoArgs(kind);
    if (PyObject_TypeCheck(value, reinterpret_cast<PyTypeObject*>(kind))) return Py_NewRef(value);
    return PyTuple_Check(value) ? PyObject_CallObject(kind, value) : PyObject_CallOneArg(kind, value);
}

PyObject* throw_into(PyObject* object, PyObject* const* args, Py_ssize_t count) {
    if (count < 1 || count > 3) {
        return PyErr_Format(PyExc_TypeError, "throw expected 1 to 3 arguments, got %zd", count);
    }
    PyObject* const exception = exception_of(args[0], count > 1 ? args[1] : Py_None);
    if (exception == nullptr) return nullptr;
    if (count == 3 && args[2] != Py_None && PyException_SetTraceback(exception, args[2]) < 0) {
        Py_DECREF(exception);
        return nullptr;
    }
    if (enter(as_results(object))) {
        end(as_results(object));
        as_results(object)->busy.store(false, std::memory_order_release);
        errors::raise(exception);
        errors::wrap_stop_iteration("generator raised StopIteration");
    }
    Py_DECREF(exception);
    return nullptr;
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
    {"send", send, METH_O,
     PyDoc_STR("send($self, value, /)\n--\n\nThe next result; nobody looks at the value.")},
    {"throw", as_method(throw_into), METH_FASTCALL,
     PyDoc_STR("throw($self, type, value=None, traceback=None, /)\n--\n\nclose(), then raise that.")},
    {"close", close, METH_NOARGS,
     PyDoc_STR(
         "close($self)\n--\n\nEnd the iteration; jobs that have not started are cancelled if it had begun.")},
    {nullptr, nullptr, 0, nullptr}};

} // namespace

PyObject* executor_map(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    python_pool* const home = pool_of(self);
    if (home == nullptr) return nullptr;
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "_map() takes a function, an iterable, a flag and an end");
        return nullptr;
    }
    deadline until = deadline::never();
    if (args[3] != Py_None && !parse_standard_end(args[3], &until)) return nullptr;
    if (home->core->options().max_pending >= 0) Py_RETURN_NONE; // a batch takes one place, whatever its size
    batch_items items;
    if (!items.fill(args[1])) return nullptr;
    deferred::drain();
    // Who submits nothing is not told that nothing can be submitted.
    if (items.size() != 0 && (home->core->closed() || is_past_exit())) return raise_not_running(*home);
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
