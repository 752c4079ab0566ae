#pragma once

#include <Python.h>

#include "python_job.hpp"

namespace loomy::py {

// loomy.AsyncResult: the job itself, with a Python head. Not tracked by the collector until the job has ended
// with something that can be part of a cycle: while it is in flight the scheduler's holds are not references,
// so the collector would take a live job for garbage.
struct async_result {
    PyObject_HEAD PyObject* weak_references;
    python_job job;
};

extern PyTypeObject async_result_type;

// A pending job of that pool, with the queue's hold. `snapshot` may be empty. Null with an error set.
[[nodiscard]] async_result* make_async_result(python_pool& home, PyObject* payload,
                                              context_snapshot snapshot);
// The answer of a batch.
[[nodiscard]] async_result* make_batch_result(python_pool& home, ref<python_batch> of);
// The answer of a launch of that kernel.
[[nodiscard]] async_result* make_launch_result(python_pool& home, PyObject* kernel,
                                               job_handle<python_launch> of);
// Last call, from the job of an AsyncResult or a Future: nobody points at it any more.
void free_async_result(python_job& job);

// Lets the collector see the result once its outcome can be part of a cycle. Attached, with the GIL or with a
// reference to the result.
void track_if_cyclic(python_job& job, PyObject* outcome);

[[nodiscard]] async_result* result_of(python_job& job) noexcept;

[[nodiscard]] inline async_result* as_result(PyObject* self) noexcept {
    return reinterpret_cast<async_result*>(self);
}

// The pool is one of the parent process, so nothing will ever end what has not.
[[nodiscard]] inline bool is_dead(async_result* self) {
    return self->job.home->core->dead();
}

// The same as result.cancel(). Keep a reference: hooks and callbacks run.
bool cancel_result(async_result* self);

// The answer of a finished job, where a StopIteration would be taken for the end of an iteration or of a
// coroutine: as in generators (PEP 479) it becomes a RuntimeError.
[[nodiscard]] PyObject* answer_outside_iteration(python_job& job);

// Waits until it has finished. 1: it has, 0: timed out, -1: a signal handler raised or the pool died in a
// fork.
[[nodiscard]] int wait_for(async_result* self, deadline until);

// Waits as its methods with the one argument `timeout` are asked to. True when the job has finished, else an
// error is set.
[[nodiscard]] bool wait_as_asked(async_result* self, PyObject* const* args, Py_ssize_t count, PyObject* names,
                                 const char* method);

// Calls callback(self) once it has ended, on the thread that ends it, or now. None, or null with an error
// set.
[[nodiscard]] PyObject* add_done_callback(async_result* self, PyObject* callback);

// Ends the answer of a batch from outside, and the batch with it. True if this call did it.
bool end_batch_result(python_job& answer, phase as);

[[nodiscard]] int register_async_result(PyObject* module);

} // namespace loomy::py
