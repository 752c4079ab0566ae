#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "loomy/base/cpu.hpp"
#include "loomy/sync/address_wait.hpp"

namespace bench {

// For whoever finds nothing to do: some pauses, then the CPU to somebody else. The same for all contenders,
// so that none is measured by how it waits.
class patience {
  public:
    void wait() {
        if (++tries_ < 64) {
            loomy::cpu_pause();
        } else {
            std::this_thread::yield();
        }
    }
    void reset() noexcept { tries_ = 0; }

  private:
    unsigned tries_ = 0;
};

// Helper threads that are made once and sleep between rounds, so that neither making them nor waking them is
// in what is measured.
class team {
  public:
    // Thread `i` runs `work(i)` once a round.
    team(unsigned size, std::function<void(unsigned)> work) : work_(std::move(work)) {
        for (unsigned i = 0; i < size; ++i) threads_.emplace_back([this, i] { live(i); });
    }
    ~team() {
        over_.store(true, std::memory_order_relaxed);
        next_round();
        for (std::thread& one : threads_) one.join();
    }
    team(const team&) = delete;
    team& operator=(const team&) = delete;

    // Returns when all are awake and at the start. Not measured.
    void line_up() {
        ready_.store(0, std::memory_order_relaxed);
        left_.store(static_cast<std::uint32_t>(threads_.size()), std::memory_order_relaxed);
        next_round();
        for (patience idle; ready_.load(std::memory_order_acquire) != threads_.size();) idle.wait();
    }
    // Lets them go and sleeps until the last is done.
    void run() {
        release();
        await();
    }
    void release() { go_.store(round_.load(std::memory_order_relaxed), std::memory_order_release); }
    void await() {
        for (;;) {
            const std::uint32_t left = left_.load(std::memory_order_acquire);
            if (left == 0) return;
            (void)loomy::wait_on_address(left_, left, loomy::deadline::never());
        }
    }

  private:
    void next_round() {
        round_.fetch_add(1, std::memory_order_release);
        loomy::wake_all_at_address(&round_);
    }

    void live(unsigned self) {
        for (std::uint32_t round = 0;;) {
            while (round_.load(std::memory_order_acquire) == round)
                (void)loomy::wait_on_address(round_, round, loomy::deadline::never());
            if (over_.load(std::memory_order_relaxed)) return;
            ++round;
            ready_.fetch_add(1, std::memory_order_release);
            for (patience idle; go_.load(std::memory_order_acquire) != round;) idle.wait();
            work_(self);
            if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) loomy::wake_all_at_address(&left_);
        }
    }

    const std::function<void(unsigned)> work_;
    std::atomic<std::uint32_t> round_{0}, go_{0}, left_{0};
    std::atomic<std::size_t> ready_{0};
    std::atomic<bool> over_{false};
    std::vector<std::thread> threads_;
};

} // namespace bench
