#pragma once

#include <Python.h>

#include "context_snapshot.hpp"
#include "loomy/exec/observer.hpp"
#include "python_pool.hpp"

namespace loomy::py {

// The surroundings of a thread that runs Python jobs: attached while it does, detached whenever it might
// wait.
class python_env : public worker_env {
  public:
    bool ready(slot&) override { return true; }
    void enter(job& next) override;
    void leave() override;
    void retire(slot&) override {}

    // The one of this thread, for callers.
    static python_env& of_callers() noexcept;

    lent_context context; // of the jobs run here

    // What jobs of that pool call; a new reference, or null. Where there is no GIL, a worker asks once, has
    // it given back, and keeps it until it has nothing more to run, as every thread that asks waits for the
    // others that do.
    [[nodiscard]] PyObject* take_target(const python_pool& home, const frame& where);
    void give_back_target(PyObject* target, const frame& where);

    // Whether the last attach had to force the GIL from a thread that would not let go.
    [[nodiscard]] bool was_forced() const noexcept { return forced_; }

  private:
    PyObject* target_ = nullptr;
    std::int64_t attached_since_ns_ = 0;
    unsigned jobs_since_look_ = 0;
    bool forced_ = false;
};

// A worker's own thread, which may have a stateful Worker object.
class worker_thread_env final : public python_env {
  public:
    explicit worker_thread_env(python_pool& home) noexcept : home_(home) {}
    bool ready(slot& self) override;
    void retire(slot& self) override;

    PyObject* worker = nullptr;           // the Worker object, made by the factory on this thread
    PyObject* process_method = nullptr;   // bound, as the next two; those are null if nobody wrote them
    PyObject* ready_method = nullptr;     // block_until_ready
    PyObject* interrupt_method = nullptr; // read by the interrupter while a job runs here

  private:
    [[nodiscard]] bool make_worker(slot& self);
    [[nodiscard]] bool initialize();

    python_pool& home_;
    bool initialized_ = false;
};

} // namespace loomy::py
