#pragma once

#include <Python.h>

#include <atomic>
#include <cstdint>
#include <mutex>

#include "loomy/base/cacheline.hpp"
#include "loomy/base/ref.hpp"
#include "loomy/exec/observer.hpp"
#include "loomy/exec/pool.hpp"
#include "loomy/sync/spin.hpp"

namespace loomy::py {

// An executor runs callables, as a callback pool does, the way the standard library's executor would.
enum class pool_kind : std::uint8_t { function, context, callbacks, workers, executor };
enum class when_full : std::uint8_t { block, raise, caller_runs };

// Which of the five hooks somebody wrote; the order of the tuple in python_pool::hooks.
enum hook : Py_ssize_t { job_start, job_complete, job_error, worker_start, worker_stop, hook_count };

// What C++ knows of a Python pool beyond the core's scheduler: what its jobs call, and its Python threads.
// Shared by the Pool object, its worker threads and its results, so it outlives the Pool object; the Python
// objects that could lead back to that (target, hooks) are dropped with it. Its last reference is dropped
// attached.
class python_pool final : public observer, public ref_counted<python_pool> {
  public:
    python_pool(pool_kind kind_, PyObject* target_, PyObject* name_, const pool_options& options,
                bool any_affinity);
    ~python_pool();

    bool start_thread(slot& self) override;
    void worker_joined(std::uint32_t id) override;
    void worker_left(std::uint32_t id) override;
    void interrupt(slot& self) override;

    // fn, the factory of workers, or an executor's initializer: a new reference, or null once the Pool object
    // is gone, which may be at any moment.
    [[nodiscard]] PyObject* target() const noexcept { return shared_object(target_); }
    // New reference to the tuple of bound hooks (None where nobody wrote one), or null when there are none.
    [[nodiscard]] PyObject* hooks() const noexcept { return shared_object(hooks_); }
    // `hooks` is None or an instance of loomy.Hooks. -1 with an error set.
    [[nodiscard]] int set_hooks(PyObject* hooks);
    [[nodiscard]] bool has_job_hooks() const noexcept { return job_hooks_.load(std::memory_order_relaxed); }
    // Calls one hook, if somebody wrote it; what it raises is reported and changes nothing.
    static void call_hook(PyObject* hooks, hook which, PyObject* const* arguments, std::size_t count);

    // The thread that calls is inside a job, a worker hook or a callback of this pool, and must not wait for
    // it.
    [[nodiscard]] bool is_inside() const noexcept;

    // Joins the threads that have ended or are ending. Attached. -1 with an error set (Ctrl-C).
    [[nodiscard]] int join_threads();

    // Its worker threads that have not been joined: a new set of threading.Thread. Null with an error set.
    [[nodiscard]] PyObject* threads() const { return PySet_New(threads_); }

    // The Python objects that may be part of reference cycles: for the collector, and to break them.
    int traverse(visitproc visit, void* arg) const;
    void clear();

    // Every pool of this process, for exit and fork.
    static void for_each(void (*call)(python_pool&));
    static void all_dead_in_child() noexcept; // while the child has no other thread

    // Not beside the count of references, which every submission changes while workers read this.
    alignas(cache_line) const pool_kind kind;
    const bool has_target;   // not None
    const bool any_affinity; // callers may run jobs themselves: a plain pool with affinity="any"
    bool copy_context = true;
    when_full on_full = when_full::block;
    PyObject* const name;
    ref<pool> core;

    // An executor whose initializer raised: it is closed, and says so.
    std::atomic<bool> broken{false};

    // How long a task whose event loop has nothing else to do waits in place for a job of this pool.
    spin_budget await_spin;

    // Why the last of the stateful workers that could not be made was not; a new reference, or null.
    [[nodiscard]] PyObject* factory_error() const noexcept { return shared_object(factory_error_); }
    void set_factory_error(PyObject* error) noexcept { replace(factory_error_, error); } // steals

  private:
    void tell_worker_hook(hook which, std::uint32_t id);

    // Guarded by the GIL, or by objects_lock_ on a free-threaded build.
    [[nodiscard]] PyObject* shared_object(PyObject* const& place) const noexcept;
    void replace(PyObject*& place, PyObject* by) noexcept; // steals

    PyObject* target_;
    PyObject* hooks_ = nullptr;
    PyObject* factory_error_ = nullptr;
    mutable std::mutex objects_lock_; // whoever forks stops the others first, and none of them in here
    std::atomic<bool> job_hooks_{false};
    std::atomic<bool> worker_hooks_{false};
    PyObject* threads_; // a list
    python_pool* previous_ = nullptr;
    python_pool* next_ = nullptr;
};

// The bound method if somebody overrode that of the class `base` (a loomy base class whose methods do
// nothing), else null; with an error set only if looking it up failed. New reference.
[[nodiscard]] PyObject* overridden_method(PyObject* object, PyObject* base, const char* name);

// Marks this thread as inside a worker hook of a pool, for is_inside.
class hook_scope {
  public:
    explicit hook_scope(const python_pool& of) noexcept : of_(of), outer_(top_) { top_ = this; }
    ~hook_scope() { top_ = outer_; }
    hook_scope(const hook_scope&) = delete;
    hook_scope& operator=(const hook_scope&) = delete;
    [[nodiscard]] static bool contains(const python_pool& which) noexcept {
        for (const hook_scope* one = top_; one != nullptr; one = one->outer_) {
            if (&one->of_ == &which) return true;
        }
        return false;
    }

  private:
    inline static thread_local const hook_scope* top_ = nullptr;
    const python_pool& of_;
    const hook_scope* const outer_;
};

} // namespace loomy::py
