#pragma once

#include <Python.h>

#include "python_job.hpp"

namespace loomy::py {

// AsyncResult as asyncio sees it. It passes for a future of whatever loop runs on the thread that asks, so
// gather, wait, wait_for, as_completed and shield take it as it is; where none runs it is an awaitable.
PyObject* result_add_done_callback(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* result_remove_done_callback(PyObject* self, PyObject* callback);
PyObject* result_get_loop(PyObject* self, PyObject*);
PyObject* result_make_cancelled_error(PyObject* self, PyObject*);
PyObject* result_get_blocking(PyObject* self, void*);
PyObject* result_get_cancel_message(PyObject* self, void*);

// The job's error is set. Where an event loop runs, replaces it by what asyncio can tell apart: a cancelled
// job's is a CancelledError as well, and a StopIteration is wrapped.
void raise_as_asyncio_expects(python_job& job);
// The same for an error that is not raised: a future cannot have a StopIteration. Steals `error`, which may
// be null.
[[nodiscard]] PyObject* error_as_asyncio_expects(PyObject* error);

} // namespace loomy::py
