#pragma once

#include <Python.h>

// The exception classes, which live in loomy.errors, and the ways C++ raises them.
namespace loomy::py::errors {

// Borrowed references, valid for the life of the module.
[[nodiscard]] PyObject* job_cancelled() noexcept;
[[nodiscard]] PyObject* deadline_exceeded() noexcept;
[[nodiscard]] PyObject* job_timed_out() noexcept;
[[nodiscard]] PyObject* pool_not_running() noexcept;
[[nodiscard]] PyObject* pool_full() noexcept;
[[nodiscard]] PyObject* worker_closed() noexcept;
[[nodiscard]] PyObject* worker_panic() noexcept;
[[nodiscard]] PyObject* job_not_callable() noexcept;

// The exception that is set, normalised, with its traceback; the indicator is clear afterwards. New
// reference.
[[nodiscard]] PyObject* take_raised() noexcept;
// Sets an exception object, keeping its traceback. Borrows it.
void raise(PyObject* exception) noexcept;
// Sets again what take_raised took, in place of what was set meanwhile; nothing for null. Steals. By hand and
// not by a destructor, which would run without the interpreter where a thread is unwound at exit.
void put_back(PyObject* taken) noexcept;
// A new exception `type(message)`, not raised; null with an error set. `cause` may be null; borrowed.
[[nodiscard]] PyObject* make(PyObject* type, PyObject* cause, const char* format, ...);
// The StopIteration that is set, if one is, becomes a RuntimeError with it as its cause.
void wrap_stop_iteration(const char* message = "a job raised StopIteration; see __cause__");
// The same where an asynchronous iteration would end: of the StopAsyncIteration that is set, if one is.
void wrap_stop_async_iteration(const char* message);
// What failed where nobody can be told goes to sys.unraisablehook, with the error that is set. `where` may be
// null.
void report_unraisable(const char* what, PyObject* where) noexcept;

} // namespace loomy::py::errors

namespace loomy::py {

// Imports loomy.errors. -1 with an error set.
[[nodiscard]] int register_errors(PyObject* module);

} // namespace loomy::py
