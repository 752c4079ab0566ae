#pragma once

#include <cstdint>
#include <list>
#include <mutex>

#include "loomy/base/ref.hpp"
#include "loomy/sync/parker.hpp"
#include "loomy/sync/timer.hpp"

namespace loomy {

class job;
class pool;

// Delivers interrupts on a thread of its own, so that who abandons a job returns at once however long a
// worker's interrupt() takes. The thread starts at the first delivery and ends when it is stopped.
class interrupter {
  public:
    [[nodiscard]] static interrupter& instance() noexcept;

    // Asks the workers that run `which` to end it early; null: all workers that run anything. If no thread
    // can be had, the worker itself is told when the function returns.
    void deliver(pool& home, job* which);

    // Ends the thread; false when it was still delivering at `until`.
    static bool stop(deadline until);
    static void reset_after_fork() noexcept;
    // As timer::set_thread_starter.
    static void set_thread_starter(timer::thread_starter starter) noexcept;

  private:
    struct request {
        ref<pool> home;
        job* which; // held, unless null
    };

    static void thread_main(void* self);
    void run();

    std::mutex lock_;
    std::list<request> requests_; // guarded by lock_
    bool running_ = false;        // guarded by lock_
    bool stopping_ = false;       // guarded by lock_
    parker sleep_;
    std::atomic<std::uint32_t> endings_{0};
};

} // namespace loomy
