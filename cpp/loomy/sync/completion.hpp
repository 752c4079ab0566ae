#pragma once

#include <atomic>
#include <cstdint>

#include "loomy/sync/parker.hpp"

namespace loomy {

// Who wants to know that something has completed. The object that completes keeps one pointer, the head of
// this list, and bits in its own state word that say whether the list is worth looking at; so a completion
// that nobody listens to costs no lock.
struct listener {
    listener* next = nullptr;
    parker* waiter = nullptr; // a thread to unpark; the node lives on its stack
    // Otherwise a callback: called once, outside every lock, by the completing thread. It may delete itself.
    void (*call)(listener&) = nullptr;
    bool is_native = false; // a callback that is happy on any thread, whatever state that is in
};

// The locks that guard listener lists: a fixed table, striped by address, so that an object needs none of its
// own. Held for a few instructions and one wake-up at most; nothing else is ever locked, run or freed under
// it.
class listener_lock {
  public:
    explicit listener_lock(const void* object) noexcept;
    ~listener_lock();
    listener_lock(const listener_lock&) = delete;
    listener_lock& operator=(const listener_lock&) = delete;

    // In the child of a fork the locks may be held by threads that do not exist there.
    static void reset_after_fork() noexcept;

  private:
    void* mutex_;
};

// Unparks the waiting threads (while locked: their nodes vanish as soon as they may return) and hands the
// callbacks over, oldest first, for the caller to call once it has let go of the lock.
[[nodiscard]] listener* wake_waiters_locked(listener*& head) noexcept;

// Calls what wake_waiters_locked handed over. Not noexcept: callbacks may run Python.
void call_listeners(listener* callbacks);

} // namespace loomy
