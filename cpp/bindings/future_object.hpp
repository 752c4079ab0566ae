#pragma once

#include <Python.h>

#include <atomic>

#include "async_result.hpp"

namespace loomy::py {

// loomy._loomy.FutureBase, which loomy.Future derives from together with concurrent.futures.Future: the job
// itself, as in an AsyncResult. What the standard library's wait() and as_completed() look at (a condition, a
// state beside it, a list of waiters) is made when one of them looks.
struct future_object : async_result {
    // A loomy._futures.Touched once somebody has looked; before that null, or None if the future has been
    // asked for its end. Owned.
    std::atomic<PyObject*> touched;
};

extern PyTypeObject future_base_type;

// A pending job of that executor, with the queue's hold. `snapshot` may be empty. Null with an error set.
[[nodiscard]] async_result* make_future(python_pool& home, PyObject* payload, context_snapshot snapshot);
// Last call, from the job: nobody points at it any more.
void free_future(python_job& job);

[[nodiscard]] int register_future(PyObject* module);

} // namespace loomy::py
