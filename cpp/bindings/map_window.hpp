#pragma once

#include <Python.h>

#include <cstdint>
#include <deque>
#include <mutex>
#include <unordered_set>

#include "async_result.hpp"
#include "loomy/base/ref.hpp"
#include "loomy/sync/parker.hpp"

namespace loomy::py {

// The jobs a map has submitted and not yet handed out: in input order, or in the order in which they end.
// Owns a reference to each. Used by one thread at a time; completions come from any.
class map_window {
  public:
    explicit map_window(bool ordered) : ordered_(ordered), finished_(ref<inbox>::adopt(new inbox)) {}

    [[nodiscard]] std::size_t size() const noexcept {
        return ordered_ ? in_order_.size() : outstanding_.size();
    }
    // Takes over a reference.
    void add(async_result* submitted);
    // Whether take() has something to give.
    [[nodiscard]] bool has_finished() noexcept;
    // The next finished job, with its reference; null if there is none yet.
    [[nodiscard]] async_result* take();
    // The same, but waits a little for it if the event loop of this thread would only go to sleep meanwhile.
    // Null perhaps with an error set.
    [[nodiscard]] async_result* take_soon();
    // Waits until has_finished(). 1, or -1 with an error set.
    [[nodiscard]] int wait();
    // The jobs whose end has_finished() depends on.
    [[nodiscard]] PyObject* awaited() const;
    // Cancels what has not started, or everything, and lets go of it.
    enum class cancels : std::uint8_t { queued, running_too };
    void abandon(cancels what);

    int traverse(visitproc visit, void* arg) const;

  private:
    // Where jobs of an unordered map report; shared with them, for they may end after the map is gone.
    struct inbox : ref_counted<inbox> {
        std::mutex lock;
        std::deque<async_result*> ended; // guarded by lock; the window has the references
        parker* consumer = nullptr;      // guarded by lock
    };
    struct report : listener {
        ref<inbox> to;
        async_result* from;
    };
    static void arrived(listener& node);

    const bool ordered_;
    std::deque<async_result*> in_order_;
    std::unordered_set<async_result*> outstanding_;
    const ref<inbox> finished_;
};

} // namespace loomy::py
