#pragma once

#include <cstdint>

#include "loomy/exec/job.hpp"
#include "loomy/exec/slot.hpp"

namespace loomy {

class worker_env;

// One job being run on this thread, or a slot held between jobs. Frames of nested jobs form a stack, through
// which a waiting job finds the slots it may help on.
struct frame {
    frame(pool& on, slot& at, worker_env& surroundings, bool own_thread_, bool unrelated = false) noexcept
        : owner(on),
          where(at),
          env(surroundings),
          own_thread(own_thread_),
          outer(top_),
          unrelated_below((top_ != nullptr ? top_->unrelated_below : 0) + (unrelated ? 1 : 0)) {
        top_ = this;
    }
    ~frame() { top_ = outer; }
    frame(const frame&) = delete;
    frame& operator=(const frame&) = delete;

    // The innermost frame of this thread, or null.
    [[nodiscard]] static frame* top() noexcept { return top_; }
    // Whether this thread is inside a job, or a worker, of that pool.
    [[nodiscard]] static frame* of(const pool& which) noexcept {
        for (frame* one = top_; one != nullptr; one = one->outer) {
            if (&one->owner == &which) return one;
        }
        return nullptr;
    }

    static constexpr std::uint64_t no_end = ~std::uint64_t{0};

    pool& owner;
    slot& where;
    worker_env& env;
    const bool own_thread;   // the worker's loop itself: not a caller's thread, not a nested job
    job* current = nullptr;  // what is being run, null between jobs and for calls without a job object
    void* context = nullptr; // the bindings' record of the call being run
    std::uint64_t end_item = no_end; // of a shared job: this item and those after it are left to others
    frame* const outer;
    const std::uint32_t unrelated_below; // jobs on this thread, up to this one, that nobody there waits for

  private:
    inline static thread_local frame* top_ = nullptr;
};

} // namespace loomy
