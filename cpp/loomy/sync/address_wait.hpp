#pragma once

#include <atomic>
#include <cstdint>

#include "loomy/base/clock.hpp"

namespace loomy {

enum class wait_status : std::uint8_t {
    woken,       // by a wake call, or for no reason at all: look at the word again
    timed_out,   // the deadline passed
    interrupted, // a signal handler ran on this thread
};

// Sleeps while `word == expected`, until a wake call on the same address, a signal or the deadline.
// Linux: futex. Windows: WaitOnAddress. Elsewhere, or with LOOMY_PORTABLE_WAIT: a table of mutexes and
// condition variables keyed by address (which signals do not interrupt).
// Not std::atomic::wait: in libstdc++ 12 its notify_one wakes every waiter of anything but a 4-byte integer,
// and it takes no deadline.
[[nodiscard]] wait_status wait_on_address(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                                          deadline until) noexcept;

// Only the address is used, never what is there: the object may already be gone.
// A wake that hits a new object at the same address is a spurious wake-up, which every waiter must expect.
void wake_one_at_address(const std::atomic<std::uint32_t>* word) noexcept;
void wake_all_at_address(const std::atomic<std::uint32_t>* word) noexcept;

// False where a signal handler cannot end a wait: such waits are done in slices (see interruptible waits in
// the bindings).
[[nodiscard]] bool address_wait_is_interruptible() noexcept;

// In the child of a fork the locks of the portable table may be held by threads that do not exist there.
void reset_address_wait_after_fork() noexcept;

} // namespace loomy
