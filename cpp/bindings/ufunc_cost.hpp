#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace loomy::py {

// What one element of a ufunc costs, learned from its calls: np.add wants three hundred thousand elements
// before another thread pays, np.sin ten thousand. Guesses, so racing writers do no harm.
class ufunc_cost {
  public:
    // Below this a call is not even timed: reading the clock would cost a percent of it.
    static constexpr std::int64_t least_elements = 8192;

    // What a call must take alone: sharing costs some ten microseconds of preparation and as much for waking
    // a thread.
    static constexpr float least_ns = 100'000;

    // Whether to share a call. False now and then where sharing was found not to help.
    [[nodiscard]] bool pays(std::int64_t elements) noexcept {
        if (alone(elements) < least_ns) return false;
        const std::uint32_t skip = skip_.load(std::memory_order_relaxed);
        if (skip == 0) return true;
        skip_.store(skip - 1, std::memory_order_relaxed);
        return false;
    }
    // One call in eight, and the first; all while calls are done alone that might be shared.
    [[nodiscard]] bool wants_sample() noexcept {
        return skip_.load(std::memory_order_relaxed) != 0 ||
               (calls_.fetch_add(1, std::memory_order_relaxed) & 7) == 0;
    }
    // A call by one thread took so long. Only interruptions make it longer than it need be, so what is less
    // counts for more.
    void add_alone(std::int64_t elements, std::int64_t took_ns) noexcept {
        const float one = static_cast<float>(took_ns) / static_cast<float>(elements);
        const float before = ns_.load(std::memory_order_relaxed);
        ns_.store(before + (one - before) / (one < before || !known_.load(std::memory_order_relaxed) ? 2 : 8),
                  std::memory_order_relaxed);
        known_.store(true, std::memory_order_relaxed);
    }
    // A shared call took so long. If that is no gain, since other processes have the CPUs or the memory has
    // no more to give, calls are done alone for a while, for longer each time. Two threads at least had part
    // in it, so an estimate that was much too high comes down.
    void add_shared(std::int64_t elements, std::int64_t took_ns) noexcept {
        const auto took = static_cast<float>(took_ns);
        if (took > alone(elements)) {
            const float longest = std::clamp(longest_pause_ns / took, 1.0F, 127.0F);
            const std::uint32_t pause =
                std::min(pause_.load(std::memory_order_relaxed) * 2 + 1, static_cast<std::uint32_t>(longest));
            pause_.store(pause, std::memory_order_relaxed);
            skip_.store(pause, std::memory_order_relaxed);
        } else {
            pause_.store(0, std::memory_order_relaxed);
        }
        const float most = 2 * took / static_cast<float>(elements);
        if (most < ns_.load(std::memory_order_relaxed)) ns_.store(most, std::memory_order_relaxed);
    }

  private:
    static constexpr float longest_pause_ns = 100'000'000; // soon enough to notice that the CPUs are free

    [[nodiscard]] float alone(std::int64_t elements) const noexcept {
        return static_cast<float>(elements) * ns_.load(std::memory_order_relaxed);
    }

    std::atomic<float> ns_{0.3F}; // at first as little as any loop costs
    std::atomic<bool> known_{false};
    std::atomic<std::uint32_t> calls_{0};
    std::atomic<std::uint32_t> skip_{0};  // so many more calls are done alone
    std::atomic<std::uint32_t> pause_{0}; // as many as the last time
};

} // namespace loomy::py
