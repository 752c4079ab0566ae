#pragma once

#include <Python.h>

namespace loomy::py {

// The contextvars context of a submitter at the moment of the submission. Contexts are immutable maps behind
// a mutable head: submissions that find the same map share one copy of the head, and a worker that runs one
// after the other lends the same head to each as long as none of them changes it. So a million queued jobs
// need not be a million Context objects, each of which the collector would visit.
//
// Telling whether a map is the same takes a look inside the Context object, which CPython does not offer;
// where its layout is checked at import and found to be another, and on free-threaded builds, every job has
// its own copy.
class context_snapshot {
  public:
    // Of this thread's current context. New reference; null with an error set.
    [[nodiscard]] static context_snapshot* take();
    void release();

  private:
    friend class lent_context;

    explicit context_snapshot(PyObject* copy) noexcept : copy_(copy) {}

    Py_ssize_t count_ = 1; // guarded by the GIL; always 1 without it
    PyObject* copy_;       // a Context that is never entered while it is shared
};

// What one thread runs jobs in. Attached.
class lent_context {
  public:
    // Enters a context with the snapshot's values. False with an error set.
    [[nodiscard]] bool enter(context_snapshot& from);
    void leave();
    // The thread has no more jobs to run for now: keeps nothing but what is entered.
    void forget_idle() {
        if (!entered_) drop();
    }

  private:
    void drop();

    PyObject* head_ = nullptr;   // entered, or kept for the next job
    PyObject* source_ = nullptr; // what head_ is an unchanged copy of
    lent_context* outer_ = nullptr;
    bool entered_ = false;
};

// Checks the layout of Context objects. -1 with an error set.
[[nodiscard]] int register_context_layout(PyObject* module);

} // namespace loomy::py
