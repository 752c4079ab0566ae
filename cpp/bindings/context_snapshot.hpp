#pragma once

#include <Python.h>

#include <utility>

namespace loomy::py {

// The contextvars context of a submitter at the moment of the submission. A Context is a mutable head with an
// immutable map of values, so the map is all that has to be kept: a million queued jobs need not be a million
// Context objects, each of which the collector would visit. A worker makes a head for it, and lends that to
// one job after the other as long as they have the same map and none of them changes it.
//
// That takes a look inside the Context object, which CPython does not offer; where its layout is checked at
// import and found to be another, every job has a copy of the Context.
class context_snapshot {
  public:
    context_snapshot() noexcept = default;
    context_snapshot(context_snapshot&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
    context_snapshot& operator=(context_snapshot&& other) noexcept {
        std::swap(held_, other.held_);
        return *this;
    }
    ~context_snapshot() { Py_XDECREF(held_); }

    // Of this thread's current context. Empty with an error set.
    [[nodiscard]] static context_snapshot take();
    explicit operator bool() const noexcept { return held_ != nullptr; }

  private:
    friend class lent_context;

    explicit context_snapshot(PyObject* held) noexcept : held_(held) {}

    PyObject* held_ = nullptr; // the map; or a Context of its own, where the layout is unknown
};

// What one thread runs jobs in. Attached.
class lent_context {
  public:
    // Enters a context with the values of `from`, which stays until leave(). False with an error set.
    [[nodiscard]] bool enter(const context_snapshot& from);
    void leave();
    // After leave(), with what was entered: empty then. Where there is no GIL, a reference to a map that the
    // next job will come with as well is kept, and given back with many others: the submitter counts them on
    // the same cache line, which would go back and forth with each job.
    void take_back(context_snapshot& entered);
    // The thread has no more jobs to run for now: keeps nothing but what is entered.
    void forget_idle() {
        if (entered_) return;
        give_back_kept();
        Py_CLEAR(head_);
    }

  private:
    static constexpr unsigned most_kept = 64;
    // None of them is the last: the head has one as well, and is dropped after them, or, where its job has
    // changed it, that job has.
    void give_back_kept() noexcept {
        PyObject* const map = map_;
        for (unsigned left = std::exchange(kept_, 0u); left != 0; --left) Py_DECREF(map);
    }

    PyObject* head_ = nullptr; // entered, or kept for the next job
    PyObject* map_ = nullptr;  // borrowed: what head_ was entered with
    unsigned kept_ = 0;        // references to map_ of jobs that have ended
    lent_context* outer_ = nullptr;
    bool entered_ = false;
};

// Checks the layout of Context objects. -1 with an error set.
[[nodiscard]] int register_context_layout(PyObject* module);

} // namespace loomy::py
