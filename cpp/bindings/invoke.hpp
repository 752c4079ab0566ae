#pragma once

#include <Python.h>

#include "loomy/exec/frame.hpp"
#include "python_pool.hpp"
#include "running_call.hpp"

namespace loomy::py {

// Calls what the pool calls for one payload. `target` is the pool's, kept alive by the caller. Attached.
// New reference, or null with an error set.
[[nodiscard]] PyObject* call_target(const python_pool& home, PyObject* target, frame& where,
                                    running_call& call, PyObject* payload);

// The error that is set, as the caller of the job is to see it: an Exception is itself, with a note that
// names pool and worker; anything else becomes the cause of a WorkerPanic. Clears the indicator. New
// reference.
[[nodiscard]] PyObject* job_failure(const python_pool& home, const frame& where);

// Whether the error that is set is a Ctrl-C that arrived while this (the main) thread itself ran a job, and
// not a KeyboardInterrupt that the job raised.
[[nodiscard]] bool is_interrupt_of_this_thread();

// The contextvars context that a call of this pool is to run in: a copy of the current one. Null if the pool
// does not copy contexts, or with an error set.
[[nodiscard]] inline PyObject* copy_context(const python_pool& home) {
    return home.copy_context ? PyContext_CopyCurrent() : nullptr;
}

// Fires on_job_error for a job that was ended from outside. Borrows.
void tell_job_error(PyObject* table, PyObject* payload, PyObject* error, double seconds);
void tell_job_complete(PyObject* table, PyObject* payload, PyObject* result, double seconds);

} // namespace loomy::py
