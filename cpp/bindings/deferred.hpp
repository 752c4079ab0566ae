#pragma once

#include <Python.h>

#include <atomic>

#include "loomy/exec/job.hpp"

namespace loomy::py {

// Objects whose last hold was dropped by a thread that is detached. Taking the GIL just for that could take
// milliseconds, so they wait here for the next attached thread that passes by, or, if none does, for the
// interpreter's own pending calls.
class deferred {
  public:
    struct node {
        node* next_deferred = nullptr;
        virtual void destroy() = 0; // attached

      protected:
        ~node() = default;
    };

    // Any thread. Lock-free.
    static void push(node& one) noexcept;
    // A job that is disposable; dispose() is called again, attached. Jobs have the link in themselves.
    static void push(job& one) noexcept;

    // Attached. Costs two loads when there is nothing to do.
    static void drain() {
        if (nodes_.load(std::memory_order_relaxed) != nullptr ||
            jobs_.load(std::memory_order_relaxed) != nullptr) {
            drain_all();
        }
    }

  private:
    static void drain_all();
    static int pending_call(void*);

    inline static std::atomic<node*> nodes_{nullptr};
    inline static std::atomic<job*> jobs_{nullptr};
};

} // namespace loomy::py
