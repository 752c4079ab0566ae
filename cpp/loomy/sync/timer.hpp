#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <vector>

#include "loomy/base/clock.hpp"

namespace loomy {

// Something that happens at a deadline; embed it in what the deadline belongs to. Must not be destroyed while
// scheduled: cancel it first.
class timer_entry {
  public:
    timer_entry(const timer_entry&) = delete;
    timer_entry& operator=(const timer_entry&) = delete;

  protected:
    timer_entry() noexcept = default;
    ~timer_entry() = default;

  private:
    friend class timer;

    // On the timer's thread, under its lock: only look, take nothing and call nobody. False: the owner is
    // going away and `expired` must not be called. A reference-counted owner takes a reference here, which
    // keeps it alive until `expired` gives it back.
    virtual bool claim() noexcept { return true; }

    // On the timer's thread, outside its lock. Must not throw. Not noexcept: what it calls may end the thread
    // by unwinding it (pthread_exit), as interpreters that are going away do.
    virtual void expired() = 0;

    static constexpr std::size_t nowhere = std::numeric_limits<std::size_t>::max();
    std::size_t place_ = nowhere; // in the heap; guarded by the timer's lock
};

// One thread for the deadlines nobody is waiting on. It starts at the first of them, and sleeps until the
// earliest: an idle timer costs nothing.
class timer {
  public:
    using thread_entry = void (*)(void* argument);
    // Starts a thread that calls entry(argument) with all signals blocked; false if it cannot. Must not
    // throw.
    using thread_starter = bool (*)(thread_entry entry, void* argument);

    timer(const timer&) = delete;
    timer& operator=(const timer&) = delete;

    [[nodiscard]] static timer& instance() noexcept;

    // How the thread is started from now on; null: a detached std::thread.
    static void set_thread_starter(thread_starter starter) noexcept;

    // Calls entry.expired() once `until` has passed, in the order of the deadlines. An entry that is
    // scheduled already is moved. O(log n), blocking: takes a lock for some ten nanoseconds, and the first
    // call starts the thread (under no lock). Throws std::system_error if the thread cannot be started, and
    // std::bad_alloc; the entry is not scheduled then.
    void schedule(timer_entry& entry, deadline until);

    // True: it will not fire. False: not scheduled, fired, or firing right now. O(log n), blocking as above.
    bool cancel(timer_entry& entry) noexcept;

    // Ends the thread; what is scheduled stays, and the next schedule() starts a new thread. True when the
    // thread is gone, false when it was still running an entry at `until`. On the timer's own thread: does
    // not wait. For interpreter exit.
    static bool stop(deadline until);

    // In the child of a fork, before anything else touches the timer: the thread does not exist there and its
    // lock may be held for ever. What was scheduled is forgotten.
    static void reset_after_fork() noexcept;

    // Changes in the child of a fork, so that an owner can tell that its entry was forgotten. Never 0.
    [[nodiscard]] static std::uint32_t incarnation() noexcept;

    [[nodiscard]] std::size_t scheduled() const noexcept;
    [[nodiscard]] bool running() const noexcept;

  private:
    struct slot {
        std::int64_t when;
        std::uint64_t sequence; // equal deadlines fire in the order they were scheduled
        timer_entry* entry;

        [[nodiscard]] bool before(const slot& other) const noexcept {
            return when != other.when ? when < other.when : sequence < other.sequence;
        }
    };

    struct thread_scope; // counts a thread out, however it ends
    friend struct timer_storage;

    // What sleeping_until_ is while the thread is awake: no deadline is earlier, so nobody wakes it.
    static constexpr std::int64_t awake = std::numeric_limits<std::int64_t>::min();

    constexpr timer() noexcept = default;
    ~timer() = default;

    static void thread_main(void* argument);
    void run(std::uintptr_t generation);
    void start_thread(std::uintptr_t generation, timer_entry& entry);
    void interrupt_sleep() noexcept;

    // The heap, under lock_: a binary heap whose entries know their place.
    [[nodiscard]] bool holds(const timer_entry& entry) const noexcept;
    void put(std::size_t place, const slot& what) noexcept;
    void sift_up(std::size_t place) noexcept;
    void sift_down(std::size_t place) noexcept;
    void erase(std::size_t place) noexcept;

    mutable std::mutex lock_;
    std::vector<slot> heap_;        // guarded by lock_
    std::uint64_t sequence_ = 0;    // guarded by lock_
    std::uintptr_t generation_ = 0; // guarded by lock_; a thread whose number is not this one ends
    bool running_ = false;          // guarded by lock_; the thread numbered generation_ exists or is starting
    std::uint32_t threads_ = 0;     // guarded by lock_; above 1 only while a stopped one still runs an entry
    std::int64_t sleeping_until_ = awake;   // guarded by lock_
    std::atomic<std::uint32_t> changes_{0}; // the thread sleeps on it; written under lock_
    std::atomic<std::uint32_t> endings_{0}; // stop() sleeps on it; written under lock_
};

} // namespace loomy
