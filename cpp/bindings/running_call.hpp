#pragma once

#include <Python.h>

#include <utility>

#include "loomy/exec/frame.hpp"
#include "loomy/sync/cancel_token.hpp"
#include "python_pool.hpp"

namespace loomy::py {

class python_batch;
class python_job;

// One call of a pool's function that is in progress on this thread: what current_context() and
// check_cancelled() find. Lives on the stack beside the frame; its context is made when somebody asks for it.
class running_call {
  public:
    // `token` and `values` are what the submitter's context and timeout brought, or null; borrowed. `batch`
    // has the token itself, and null if the call is no item of one.
    running_call(python_pool& home, frame& where, python_job* job, cancel_token* token, PyObject* values,
                 python_batch* batch = nullptr) noexcept
        : home_(home),
          where_(where),
          job_(job),
          batch_(batch),
          given_(token),
          values_(values),
          outer_(where.context) {
        where.context = this;
    }
    ~running_call() {
        where_.context = outer_;
        if (context_ != nullptr || token_ || runs_loop_) end_slowly();
    }
    running_call(const running_call&) = delete;
    running_call& operator=(const running_call&) = delete;

    // The innermost call of this thread, or null.
    [[nodiscard]] static running_call* current() noexcept;

    // The job's Context, made at the first call. Borrowed; null with an error set.
    [[nodiscard]] PyObject* context();
    // The token behind it.
    [[nodiscard]] cancel_token* token();
    // An event loop runs in it, or has: until the end of the call its thread helps only if nobody else can.
    void note_loop() noexcept {
        if (!std::exchange(runs_loop_, true)) where_.where.reluctant.fetch_add(1, std::memory_order_relaxed);
    }
    [[nodiscard]] const frame& where() const noexcept { return where_; }

  private:
    void end_slowly();

    python_pool& home_;
    frame& where_;
    python_job* const job_; // null for calls without a job object
    python_batch* const batch_;
    cancel_token* const given_;
    PyObject* const values_;
    void* const outer_;
    ref<cancel_token> token_;
    PyObject* context_ = nullptr;
    bool runs_loop_ = false;
};

// current_context(), check_cancelled(), current_worker_id(). -1 with an error set.
[[nodiscard]] int register_current(PyObject* module);

} // namespace loomy::py
