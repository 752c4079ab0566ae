#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "loomy/base/clock.hpp"
#include "loomy/base/cpu.hpp"

namespace loomy {

// How many threads of this process may spin at once: one fewer than the usable CPUs, so that the thread being
// waited for always has one to run on. On a single CPU nobody spins.
class spin_permits {
  public:
    // Wait-free.
    [[nodiscard]] static bool try_take() noexcept {
        if (spinning_.fetch_add(1, std::memory_order_relaxed) < limit()) return true;
        spinning_.fetch_sub(1, std::memory_order_relaxed);
        return false;
    }
    static void give_back() noexcept { spinning_.fetch_sub(1, std::memory_order_relaxed); }
    static void reset_after_fork() noexcept { spinning_.store(0, std::memory_order_relaxed); }

  private:
    [[nodiscard]] static int limit() noexcept { return cpus_ - 1; }
    // Asked when the library is loaded: a fork during a first use would leave its guard locked in the child.
    inline static const int cpus_ = usable_cpus();
    inline static std::atomic<int> spinning_{0};
};

// How long a waiter spins before it parks: longer when what it waited for came soon, in the spin or right
// after it; shorter when it took long, so that spinning for it was in vain. What comes soon after the longest
// spin, and not in it, cannot come while somebody spins: other programs have the CPUs, and the spinner has
// the one that the waited-for thread needs. Then it hardly spins, and tries again more and more rarely. Not
// synchronised: racing updates merely blur it.
class spin_budget {
  public:
    static constexpr std::int64_t ceiling_ns = 50'000; // a parked thread takes about this long to wake
    static constexpr std::int64_t floor_ns = 2'000;
    // A wait no longer than this, wake-up included, would have been over within the ceiling of a spin.
    static constexpr std::int64_t soon_ns = 2 * ceiling_ns;

    // `fixed_ns` < 0: adaptive.
    explicit spin_budget(std::int64_t fixed_ns = -1) noexcept
        : fixed_(fixed_ns >= 0), budget_ns_(fixed_ns >= 0 ? fixed_ns : 20'000) {}

    // Calls `done` until it is true or the budget is spent; true when it became true. Never sleeps or yields.
    // `start_ns` is for slept().
    template <class Done>
    [[nodiscard]] bool spin(Done&& done, std::int64_t& start_ns) noexcept(noexcept(done())) {
        start_ns = 0;
        const std::int64_t budget = budget_ns_.load(std::memory_order_relaxed);
        if (budget == 0) return false;
        // Who hands work to a spinner and then waits for it finds the permit still taken, for a moment.
        for (int patience = 64; !spin_permits::try_take(); --patience) {
            if (done()) return true;
            if (patience == 0) return false;
            cpu_pause();
        }
        bool paid = false;
        // A pause is 10-50 ns: look at the clock once in a few tens of them.
        start_ns = now_ns();
        do {
            for (int i = 0; i < 16 && !paid; ++i) {
                paid = done();
                if (!paid) cpu_pause();
            }
        } while (!paid && now_ns() - start_ns < budget);
        spin_permits::give_back();
        if (paid && doubt_.load(std::memory_order_relaxed) != least_doubt) {
            doubt_.store(least_doubt, std::memory_order_relaxed);
            sparing_.store(0, std::memory_order_relaxed);
        }
        return paid;
    }

    // The waiter parked after a spin that began at `start_ns`, and was woken just now.
    void slept(std::int64_t start_ns) noexcept {
        if (fixed_ || start_ns == 0) return;
        const bool soon = now_ns() - start_ns < soon_ns;
        const std::int64_t budget = budget_ns_.load(std::memory_order_relaxed);
        if (soon && budget >= ceiling_ns) {
            const std::int32_t doubt = doubt_.load(std::memory_order_relaxed);
            doubt_.store(std::min(2 * doubt, most_doubt), std::memory_order_relaxed);
            sparing_.store(doubt, std::memory_order_relaxed);
            budget_ns_.store(floor_ns, std::memory_order_relaxed);
            return;
        }
        if (const std::int32_t left = sparing_.load(std::memory_order_relaxed); left > 0) {
            sparing_.store(left - 1, std::memory_order_relaxed);
            return;
        }
        budget_ns_.store(std::clamp(soon ? budget * 2 : budget / 2, floor_ns, ceiling_ns),
                         std::memory_order_relaxed);
    }

    [[nodiscard]] std::int64_t budget_ns() const noexcept {
        return budget_ns_.load(std::memory_order_relaxed);
    }

  private:
    static constexpr std::int32_t least_doubt = 16;
    static constexpr std::int32_t most_doubt = 4'096;

    const bool fixed_;
    std::atomic<std::int64_t> budget_ns_;
    std::atomic<std::int32_t> sparing_{0};         // so many sleeps from now before the budget may grow again
    std::atomic<std::int32_t> doubt_{least_doubt}; // for how many, the next time
};

} // namespace loomy
