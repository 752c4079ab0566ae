#pragma once

#include <Python.h>

#include "future_object.hpp"

// What the standard library's wait(), as_completed() and repr-readers look at in a future.
namespace loomy::py {

[[nodiscard]] inline future_object* as_future(PyObject* self) noexcept {
    return static_cast<future_object*>(reinterpret_cast<async_result*>(self));
}

[[nodiscard]] inline python_job& job_of(PyObject* self) noexcept {
    return as_future(self)->job;
}

// A result of the parent's pool in the child of a fork will never come.
[[nodiscard]] inline bool has_ended(python_job& job) noexcept {
    return job.finished() || job.home->core->dead();
}

// To be called before anything is said about a future that has ended: then its condition says the same.
[[nodiscard]] bool settle_if_touched(PyObject* self);

// The collector sees it from its end on. False with an error set.
[[nodiscard]] bool show_to_collector(PyObject* self);

// _condition, _waiters, _state, _result, _exception and __dict__.
extern PyGetSetDef standard_library_view[];

} // namespace loomy::py
