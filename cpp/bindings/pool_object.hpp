#pragma once

#include <Python.h>

#include "loomy/base/clock.hpp"
#include "loomy/base/ref.hpp"
#include "loomy/sync/cancel_token.hpp"
#include "python_pool.hpp"

namespace loomy::py {

// loomy._loomy.PoolBase, what loomy.Pool derives from: construction and numbers are in pool_object.cpp, size
// and end in pool_lifecycle.cpp, the calls that submit work in pool_process.cpp, pool_batch.cpp and
// map_iterator.cpp.
struct pool_object {
    PyObject_HEAD PyObject* weak_references;
    python_pool* home; // owned; null before __init__
};

// The pool behind an object, or null with an error set if __init__ did not run.
[[nodiscard]] python_pool* pool_of(PyObject* self);

// `timeout` and `ctx` of a call, as the job is to have them.
struct call_limits {
    deadline until;              // the earlier of both
    ref<cancel_token> token;     // null when neither was given
    PyObject* context = nullptr; // borrowed
    bool deadline_is_context = false;

    // Either may be null or None. False with an error set.
    [[nodiscard]] bool parse(PyObject* timeout, PyObject* ctx);
    [[nodiscard]] bool given() const noexcept { return static_cast<bool>(token); }
    // Over already: cancelled, or its deadline has passed.
    [[nodiscard]] cancel_reason over() const { return token ? token->check() : cancel_reason::none; }
};

// What is said of an executor whose initializer failed, in the standard library's words.
inline constexpr char broken_message[] = "A thread initializer failed, the thread pool is not usable anymore";
// The exception that says it: new reference, or null with an error set.
[[nodiscard]] PyObject* broken_error();
// Sets PoolNotRunning, or what a broken executor raises. Returns null.
PyObject* raise_not_running(const python_pool& home);
// Sets PoolFull with the depth. Returns null.
PyObject* raise_full(python_pool& home);
PyObject* raise_no_thread(const python_pool& home);

// How a full queue was met: a place may be free now (try again), the caller is to run it, the limits ended
// the wait, or an error is set.
enum class full_answer : std::uint8_t { again, run_here, over, failed };
[[nodiscard]] full_answer meet_full(python_pool& home, const call_limits& limits);

// Methods and properties; their documentation is in the tables of pool_object.cpp.
PyObject* pool_get_size(PyObject* self, void*);
int pool_assign_size(PyObject* self, PyObject* value, void*);
PyObject* pool_set_size(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* pool_close(PyObject* self, PyObject*);
PyObject* pool_shutdown(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* pool_process(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* pool_process_async(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* pool_try_process_async(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* pool_process_batch(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* pool_process_batch_async(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* pool_launch(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);
PyObject* pool_map(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names);

PyObject* pool_set_hooks(PyObject* self, PyObject* hooks);
PyObject* pool_stats(PyObject* self, PyObject*);
PyObject* pool_get_queue_length(PyObject* self, void*);
PyObject* pool_get_running(PyObject* self, void*);
PyObject* pool_get_name(PyObject* self, void*);
PyObject* pool_get_closed(PyObject* self, void*);

// Waits for workers to leave. 1, 0 (timed out) or -1 with an error set. Inside the pool's own jobs and hooks
// there is nothing to wait for: what would have to end is what waits.
[[nodiscard]] int wait_for_size(python_pool& home, std::uint32_t size, deadline until);
// Joins the threads that have ended or are ending; not inside the pool's own jobs. -1 with an error set.
[[nodiscard]] int join_threads_of(python_pool& home);

// What a type whose objects are pool_objects has whatever its methods are.
void fill_pool_slots(PyTypeObject& type);

// Submits one job for `payload`: an AsyncResult, or null with an error set. `full_is_none`: None when the
// queue is full, whatever on_full says.
[[nodiscard]] PyObject* submit_one(python_pool& home, PyObject* payload, const call_limits& limits,
                                   bool full_is_none);

[[nodiscard]] int register_pool(PyObject* module);

} // namespace loomy::py
