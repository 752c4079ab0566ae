#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace loomy::py {

// What one element of a ufunc costs, learned from its calls: np.add wants three hundred thousand elements
// before another thread pays, np.sin ten thousand.
class ufunc_cost {
  public:
    // Below this a call is not even timed: reading the clock would cost a percent of it.
    static constexpr std::int64_t least_elements = 8192;

    // What sharing a call must be able to save: some ten microseconds of preparation and as much for waking
    // a thread.
    static constexpr float least_ns = 100'000;

    [[nodiscard]] bool pays(std::int64_t elements) const noexcept {
        return static_cast<float>(elements) * ns_.load(std::memory_order_relaxed) >= least_ns;
    }
    // One call in eight, and the first.
    [[nodiscard]] bool wants_sample() noexcept {
        return (calls_.fetch_add(1, std::memory_order_relaxed) & 7) == 0;
    }
    // A call by one thread took so long. Other types of operand, cold memory and other processes make these
    // differ, so the latest counts for a half.
    void add_serial(std::int64_t elements, std::int64_t took_ns) noexcept {
        const float one = static_cast<float>(took_ns) / static_cast<float>(elements);
        const float before = ns_.load(std::memory_order_relaxed);
        ns_.store((one + before) / 2, std::memory_order_relaxed);
    }
    // A shared call took so long. Two threads at least had part in it, so that an estimate that was much too
    // high comes down; with many it stays, as the cost that is avoided.
    void add_shared(std::int64_t elements, std::int64_t took_ns) noexcept {
        const float one = 2 * static_cast<float>(took_ns) / static_cast<float>(elements);
        if (one < ns_.load(std::memory_order_relaxed)) ns_.store(one, std::memory_order_relaxed);
    }

  private:
    std::atomic<float> ns_{0.3F}; // at first as little as any loop costs
    std::atomic<std::uint32_t> calls_{0};
};

} // namespace loomy::py
