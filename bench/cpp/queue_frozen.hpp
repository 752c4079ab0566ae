#pragma once

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <thread>

#include "latency_histogram.hpp"
#include "loomy/base/clock.hpp"
#include "loomy/sync/parker.hpp"
#include "measure.hpp"
#include "queue_transfer.hpp"

namespace bench {

// Stops a thread wherever it is: the signal's handler does not return until it is let go.
class freezer {
  public:
    freezer() {
        if (pipe(thaw_) != 0) throw std::runtime_error("no pipe to freeze a thread with");
        struct sigaction action {};
        action.sa_handler = [](int) {
            const int saved = errno;
            frozen_.store(true, std::memory_order_release);
            char token = 0;
            while (read(thaw_[0], &token, 1) < 0 && errno == EINTR) {
            }
            errno = saved;
        };
        sigaction(SIGUSR1, &action, nullptr);
    }
    ~freezer() {
        close(thaw_[0]);
        close(thaw_[1]);
    }
    freezer(const freezer&) = delete;
    freezer& operator=(const freezer&) = delete;

    void freeze(std::thread& victim) {
        frozen_.store(false, std::memory_order_relaxed);
        pthread_kill(victim.native_handle(), SIGUSR1);
        for (patience idle; !frozen_.load(std::memory_order_acquire);) idle.wait();
    }
    void thaw() {
        const char token = 't';
        if (write(thaw_[1], &token, 1) != 1) throw std::runtime_error("a frozen thread cannot be let go");
    }

  private:
    // One at a time: what a signal handler sees is global.
    inline static std::atomic<bool> frozen_{false};
    inline static int thaw_[2] = {-1, -1};
};

// One thread uses the queue and is stopped at a moment that no one chose; another then has to get so many
// pairs of push and pop done. If it has not in 20 ms, the stopped one is let go: the trial stalled. ns are
// per pair of the other thread, p50 and p99 of the trials' means; `stalled` is the share of such trials.
//
// The queue always has more items than the stopped thread can have in its hands, so a healthy pop finds one.
template <class Queue>
class queue_frozen final : public contender {
  public:
    queue_frozen() {
        for (std::size_t i = 0; i < prefill; ++i) user_.try_push(&items()[i]);
    }
    ~queue_frozen() override {
        over_.store(true, std::memory_order_relaxed);
        alarm_.unpark();
        guard_.join();
        victim_.join();
    }

    sample round() override {
        std::uint64_t stalled = 0;
        std::int64_t spent = 0;
        std::uint64_t seen = laps_.load(std::memory_order_relaxed);
        const double cpu = process_cpu_seconds();
        const std::int64_t start = loomy::now_ns();
        for (std::uint64_t i = 0; i < trials; ++i) {
            // Not where it was frozen last; and a different moment each time, as its loop takes tens of
            // nanoseconds.
            for (patience idle; laps_.load(std::memory_order_relaxed) < seen + 3;) idle.wait();
            for (std::uint64_t spin = (i * 7919) % 311; spin != 0; --spin) loomy::cpu_pause();
            freezer_.freeze(victim_);
            seen = laps_.load(std::memory_order_relaxed);
            arm();
            const std::int64_t began = loomy::now_ns();
            work();
            const std::int64_t took = loomy::now_ns() - began;
            if (disarm()) ++stalled;
            spent += took;
            trial_ns_.add(took);
        }
        sample taken;
        taken.cpu_seconds = process_cpu_seconds() - cpu;
        taken.wall_seconds = static_cast<double>(loomy::now_ns() - start) * 1e-9;
        taken.ns = static_cast<double>(spent) / static_cast<double>(trials * pairs);
        taken.p50 = trial_ns_.quantile(0.5) / pairs;
        taken.p99 = trial_ns_.quantile(0.99) / pairs;
        taken.add("stalled", static_cast<double>(stalled) / static_cast<double>(trials));
        return taken;
    }

  private:
    static constexpr std::uint64_t trials = 40;
    static constexpr std::uint64_t pairs = 1000;
    static constexpr std::size_t prefill = 16;
    static constexpr std::int64_t limit_ns = 20'000'000;

    enum : std::uint32_t { disarmed, armed, fired };

    void work() {
        for (std::uint64_t i = 0; i < pairs; ++i) {
            for (patience idle; !user_.try_push(&items()[i % item_count]);) idle.wait();
            for (patience idle; user_.try_pop() == nullptr;) idle.wait();
        }
    }

    void live_as_victim() {
        typename Queue::user mine(queue_);
        while (!over_.load(std::memory_order_relaxed)) {
            while (!mine.try_push(&items()[0])) {
            }
            while (mine.try_pop() == nullptr) {
            }
            laps_.store(laps_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        }
    }

    void arm() {
        state_.store(armed, std::memory_order_release);
        alarm_.unpark();
    }
    // True when the limit had passed; else lets the victim go itself.
    bool disarm() {
        std::uint32_t seen = armed;
        if (!state_.compare_exchange_strong(seen, disarmed, std::memory_order_acq_rel)) {
            state_.store(disarmed, std::memory_order_relaxed);
            return true;
        }
        alarm_.unpark();
        freezer_.thaw();
        return false;
    }
    void live_as_guard() {
        while (!over_.load(std::memory_order_relaxed)) {
            // Looked at first: the wake-up of the next trial may have been one with the end of the last.
            if (state_.load(std::memory_order_acquire) != armed) {
                (void)alarm_.park();
                continue;
            }
            if (alarm_.park(loomy::deadline::after(limit_ns)) == loomy::wait_status::woken) continue;
            std::uint32_t seen = armed;
            if (state_.compare_exchange_strong(seen, fired, std::memory_order_acq_rel)) freezer_.thaw();
        }
    }

    Queue queue_;
    typename Queue::user user_{queue_};
    latency_histogram trial_ns_;
    std::atomic<std::uint64_t> laps_{0};
    freezer freezer_;
    loomy::parker alarm_;
    std::atomic<std::uint32_t> state_{disarmed};
    std::atomic<bool> over_{false};
    std::thread victim_{[this] { live_as_victim(); }};
    std::thread guard_{[this] { live_as_guard(); }};
};

} // namespace bench
