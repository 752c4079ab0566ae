#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <semaphore>
#include <thread>

#include "latency_histogram.hpp"
#include "loomy/base/clock.hpp"
#include "loomy/base/cpu.hpp"
#include "loomy/sync/parker.hpp"
#include "measure.hpp"

namespace bench {

// One thread sleeps, another wakes it: `sleep` returns once for each `wake`.

struct loomy_parker {
    static constexpr const char* name = "loomy parker";
    void sleep() { (void)parker.park(); }
    void wake() { parker.unpark(); }
    loomy::parker parker;
};

struct condition_variable_sleep {
    static constexpr const char* name = "mutex + condvar";
    void sleep() {
        std::unique_lock guard(lock);
        changed.wait(guard, [this] { return token; });
        token = false;
    }
    void wake() {
        {
            const std::lock_guard guard(lock);
            token = true;
        }
        changed.notify_one();
    }
    std::mutex lock;
    std::condition_variable changed;
    bool token = false;
};

struct semaphore_sleep {
    static constexpr const char* name = "std::binary_semaphore";
    void sleep() { token.acquire(); }
    void wake() { token.release(); }
    std::binary_semaphore token{0};
};

// What a waker keeps busy with while nothing is to be done. It must not sleep: its own wake-up would be
// measured.
inline void stay_awake(std::int64_t until_ns) {
    while (loomy::now_ns() < until_ns) loomy::cpu_pause();
}

// How long from just before `wake` to the return from `sleep` in the other thread, which has slept for
// `gap_ns`.
template <class Primitive>
class wake_up final : public contender {
  public:
    explicit wake_up(std::int64_t gap_ns) : gap_ns_(gap_ns) {}
    ~wake_up() override {
        over_.store(true, std::memory_order_relaxed);
        primitive_.wake();
        sleeper_.join();
    }

    sample round() override {
        const auto wakes = static_cast<std::uint32_t>(40'000'000 / (gap_ns_ + 20'000));
        const std::uint64_t before = latencies_.total();
        const double summed = sum_ns_;
        const double cpu = process_cpu_seconds();
        const std::int64_t start = loomy::now_ns();
        for (std::uint32_t i = 0; i < wakes; ++i) {
            stay_awake(loomy::now_ns() + gap_ns_);
            const std::uint32_t awake = awake_.load(std::memory_order_relaxed);
            sent_ns_.store(loomy::now_ns(), std::memory_order_relaxed);
            primitive_.wake();
            while (awake_.load(std::memory_order_acquire) == awake) loomy::cpu_pause();
        }
        sample taken;
        taken.wall_seconds = static_cast<double>(loomy::now_ns() - start) * 1e-9;
        taken.cpu_seconds = process_cpu_seconds() - cpu;
        taken.ns = (sum_ns_ - summed) / wakes;
        taken.p50 = latencies_.quantile(0.5);
        taken.p99 = latencies_.quantile(0.99);
        taken.check(latencies_.total() - before == wakes, "it did not wake once for each wake-up");
        return taken;
    }

  private:
    void live() {
        for (;;) {
            primitive_.sleep();
            const std::int64_t took = loomy::now_ns() - sent_ns_.load(std::memory_order_relaxed);
            if (over_.load(std::memory_order_relaxed)) return;
            latencies_.add(took);
            sum_ns_ += static_cast<double>(took);
            // Releases the two above to the waker, who alone reads them.
            awake_.fetch_add(1, std::memory_order_release);
        }
    }

    const std::int64_t gap_ns_;
    Primitive primitive_;
    latency_histogram latencies_;
    double sum_ns_ = 0;
    std::atomic<std::int64_t> sent_ns_{0};
    std::atomic<std::uint32_t> awake_{0};
    std::atomic<bool> over_{false};
    std::thread sleeper_{[this] { live(); }};
};

} // namespace bench
