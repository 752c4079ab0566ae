#pragma once

#include <Python.h>

#include <atomic>
#include <memory>

#include "context_snapshot.hpp"
#include "deferred.hpp"
#include "loomy/base/clock.hpp"
#include "loomy/base/ref.hpp"
#include "loomy/exec/function_job.hpp"
#include "loomy/exec/job.hpp"
#include "loomy/sync/cancel_token.hpp"
#include "python_pool.hpp"

namespace loomy::py {

class python_batch;
class python_job;
class python_launch;

[[nodiscard]] constexpr phase phase_for(cancel_reason reason) noexcept {
    return reason == cancel_reason::deadline_exceeded ? phase::timed_out : phase::cancelled;
}

// What a timeout or a context adds to a job; most jobs have none.
class job_limits final : public cancel_token::callback {
  public:
    // `context` is the submitter's Context or null.
    job_limits(python_job& job, ref<cancel_token> token, bool deadline_is_context,
               PyObject* context) noexcept;
    ~job_limits();

    // After the job was submitted: ends it when the token is cancelled; with `timer`, also when its deadline
    // passes unnoticed. The job is held meanwhile. False: it was cancelled already. Throws what
    // cancel_token::add throws.
    [[nodiscard]] bool start(bool timer);
    // The job has ended, or is about to; perhaps before it could be started to be watched.
    void stop() noexcept;

    void fired(cancel_reason reason) override;

    const ref<cancel_token> token;
    const bool deadline_is_context; // which of the two comes first
    PyObject* const context;

  private:
    enum class watch : std::uint8_t { not_yet, on, off };
    python_job& job_;
    std::atomic<watch> watch_{watch::not_yet};
};

// One payload of a Python pool; part of an AsyncResult, which owns it.
class python_job final : public job {
  public:
    // Pending, with the queue's hold. `snapshot` may be empty. The job is the AsyncResult's to
    // destroy.
    python_job(ref<python_pool> home, PyObject* payload, context_snapshot snapshot) noexcept;
    // The answer of a batch, which holds it until it has ended: never queued itself.
    python_job(ref<python_pool> home, ref<python_batch> of) noexcept;
    // The answer of a launch of that kernel, which holds it until it has ended: never queued itself.
    python_job(ref<python_pool> home, PyObject* kernel, job_handle<python_launch> of) noexcept;
    ~python_job();

    bool run(frame& where) override;
    void skip(frame& where) override { (void)run(where); } // which sees that it is over
    void on_abandoned(phase as, bool was_running) override;
    void dispose() override;

    // The token of the running call, for whoever cancels the job; null when the call has ended. True:
    // somebody has asked the job to stop already.
    [[nodiscard]] bool lend_token(cancel_token* token) noexcept;
    // Cancels the context of the running call, if it has one by now.
    void cancel_running(cancel_reason reason);

    // The answer, of a finished job: a new reference, or null with the job's error set.
    [[nodiscard]] PyObject* answer();
    // The error of a finished job: a new reference, None if it has none; null with an error set.
    [[nodiscard]] PyObject* error();
    [[nodiscard]] bool has_result() const noexcept { return state() == phase::done && !failed(); }
    // Which error an abandoned job has. New reference.
    [[nodiscard]] PyObject* abandoned_error(phase as);

    // Puts a result or an exception; the caller publishes. Steals.
    void put(PyObject* outcome, bool failed) noexcept;

    int traverse(visitproc visit, void* arg) const;
    void clear_outcome() noexcept { Py_CLEAR(outcome_); }

    const ref<python_pool> home;
    std::unique_ptr<job_limits> limits;
    ref<python_batch> batch;                 // of process_batch_async
    const job_handle<python_launch> started; // by launch()
    // The launch has ended by itself; what it came to is looked at when somebody asks, attached.
    void note_launch_ended(bool failed) noexcept { failed_.store(failed, std::memory_order_relaxed); }
    // Python's collector remembers it of the memory, which therefore is not used again.
    void note_finalized() noexcept { was_finalized_ = true; }
    [[nodiscard]] bool was_finalized() const noexcept { return was_finalized_; }
    [[nodiscard]] bool failed() const noexcept { // of a finished job
        return failed_.load(std::memory_order_relaxed);
    }
    void note_error_was_seen() noexcept { error_was_seen_.store(true, std::memory_order_relaxed); }
    // What a job raises after it was cancelled or timed out is nobody's answer.
    [[nodiscard]] bool has_unseen_error() const noexcept {
        const phase as = state(); // first: what it came to was put before
        return (as == phase::done || as == phase::refused) && failed() &&
               !error_was_seen_.load(std::memory_order_relaxed);
    }

  private:
    // Whether the outcome of a run is the job's answer. open: it is, unless somebody abandons the job yet.
    enum class ending : std::uint8_t { open, stands, abandoned };

    void end_if_over();
    void look_at_launch();
    [[nodiscard]] PyObject* run_with_hooks(frame& where, PyObject* table, PyObject* target, PyObject* payload,
                                           PyObject*& failure, ending& end);
    void note_run_began(std::int64_t at_ns) noexcept;
    [[nodiscard]] double seconds_of_run() noexcept;
    [[nodiscard]] PyObject* refusal();
    void abandon_running(phase as);
    void abandon_queued(phase as);
    void tell_hooks_of_abandoned(phase as, PyObject* payload, double seconds);
    void let_go_of_payload_second();

    PyObject* payload_ = nullptr;       // until the job has ended
    bool payload_has_one_left_ = false; // to let go of it; guarded by listener_lock(this)
    // A result, or the exception if failed_: put by the runner once nobody can abandon the job any more. That
    // of a job refused in the queue is put after it is final, guarded by listener_lock(this).
    PyObject* outcome_ = nullptr;
    context_snapshot snapshot_;     // the contextvars context to run in
    cancel_token* token_ = nullptr; // lent by the running call; guarded by listener_lock(this)
};

} // namespace loomy::py
