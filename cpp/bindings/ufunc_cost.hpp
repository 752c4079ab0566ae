#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "loomy/base/clock.hpp"

namespace loomy::py {

// What one element of a ufunc costs, learned from its calls: np.add wants five hundred thousand elements
// before another thread pays, np.sin fifteen thousand. Guesses, so racing writers do no harm.
class ufunc_cost {
  public:
    enum class way : std::uint8_t { alone, alone_timed, shared };

    // Below this a call is not even timed: reading the clock would cost a percent of it.
    static constexpr std::int64_t least_elements = 8192;

    // What a call must take alone: sharing costs some ten microseconds of preparation and as much for waking
    // a thread.
    static constexpr float least_ns = 150'000;

    // What is thought to take longer alone is always shared: an interrupt ends a shared call between two
    // chunks, and one done alone not before its end.
    static constexpr float longest_alone_ns = 20'000'000;

    // How to do the next call. A time that is told to be taken is told to add_alone.
    [[nodiscard]] way choose(std::int64_t elements) noexcept {
        const float expected = alone(elements);
        if (expected < least_ns) return one_in_eight() ? way::alone_timed : way::alone;
        if (expected >= longest_alone_ns) return way::shared;
        if (now_ns() < share_again_.load(std::memory_order_relaxed)) return way::alone_timed;
        // What calls take alone must stay known while they are shared.
        const std::uint32_t run = run_.load(std::memory_order_relaxed);
        if (since_alone_.load(std::memory_order_relaxed) < run) return way::shared;
        run_.store(std::min(2 * run, longest_run), std::memory_order_relaxed);
        since_alone_.store(0, std::memory_order_relaxed);
        return way::alone_timed;
    }
    // A call by one thread took so long. Only interruptions make it longer than it need be: what is less
    // counts for more, and what is much more no more than what is a little more.
    void add_alone(std::int64_t elements, std::int64_t took_ns) noexcept {
        const float one = static_cast<float>(took_ns) / static_cast<float>(elements);
        const float before = ns_.load(std::memory_order_relaxed);
        const bool known = known_.exchange(true, std::memory_order_relaxed);
        const float change = one < before || !known ? (one - before) / 2 : std::min(one - before, before) / 8;
        ns_.store(before + change, std::memory_order_relaxed);
    }
    // A shared call took so long. If that was a loss, since other processes have the CPUs, or the memory has
    // no more to give, calls are done alone until the loss is small beside the time that has passed, and
    // longer each time. Two threads at least had part in it, so an estimate that was much too high comes
    // down.
    void add_shared(std::int64_t elements, std::int64_t took_ns) noexcept {
        since_alone_.fetch_add(1, std::memory_order_relaxed);
        const float loss = static_cast<float>(took_ns) - alone(elements);
        if (!known_.load(std::memory_order_relaxed) || loss <= 0) {
            pause_.store(0, std::memory_order_relaxed);
        } else {
            const float doubled = 2 * pause_.load(std::memory_order_relaxed);
            const float pause =
                std::clamp(std::max(doubled, losses * loss), shortest_pause_ns, longest_pause_ns);
            pause_.store(pause, std::memory_order_relaxed);
            share_again_.store(now_ns() + static_cast<std::int64_t>(pause), std::memory_order_relaxed);
        }
        const float most = 2 * static_cast<float>(took_ns) / static_cast<float>(elements);
        if (most < ns_.load(std::memory_order_relaxed)) ns_.store(most, std::memory_order_relaxed);
    }

  private:
    static constexpr std::uint32_t longest_run = 32;
    static constexpr float losses = 50; // a loss is 2 % of the pause that follows
    static constexpr float shortest_pause_ns = 1'000'000;
    static constexpr float longest_pause_ns = 250'000'000; // soon enough to notice that the CPUs are free

    [[nodiscard]] float alone(std::int64_t elements) const noexcept {
        return static_cast<float>(elements) * ns_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] bool one_in_eight() noexcept {
        return (calls_.fetch_add(1, std::memory_order_relaxed) & 7) == 0;
    }

    std::atomic<float> ns_{0.3F}; // at first as little as any loop costs
    std::atomic<bool> known_{false};
    std::atomic<std::uint32_t> calls_{0};
    std::atomic<std::uint32_t> since_alone_{0}; // calls shared
    std::atomic<std::uint32_t> run_{1};         // so many are, at most
    std::atomic<std::int64_t> share_again_{0};  // by now_ns
    std::atomic<float> pause_{0};               // as long as the last one
};

} // namespace loomy::py
