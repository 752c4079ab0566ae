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
    [[nodiscard]] static int limit() noexcept {
        static const int cpus = usable_cpus();
        return cpus - 1;
    }
    inline static std::atomic<int> spinning_{0};
};

// How long one waiter spins before it parks: longer after a spin that paid, shorter after one that did not.
// Not synchronised: each waiter's budget is its own, or racing updates merely blur it.
class spin_budget {
  public:
    static constexpr std::int64_t ceiling_ns = 50'000; // a parked thread takes about this long to wake
    static constexpr std::int64_t floor_ns = 2'000;    // enough to notice that spinning pays again

    // `fixed_ns` < 0: adaptive.
    explicit spin_budget(std::int64_t fixed_ns = -1) noexcept
        : fixed_(fixed_ns >= 0), budget_ns_(fixed_ns >= 0 ? fixed_ns : 20'000) {}

    // Calls `done` until it is true or the budget is spent; true when it became true. Never sleeps or yields.
    template <class Done>
    [[nodiscard]] bool spin(Done&& done) noexcept(noexcept(done())) {
        const std::int64_t budget = budget_ns_.load(std::memory_order_relaxed);
        if (budget == 0 || !spin_permits::try_take()) return false;
        bool paid = false;
        // A pause is 10-50 ns: look at the clock once in a few tens of them.
        const std::int64_t start = now_ns();
        do {
            for (int i = 0; i < 16 && !paid; ++i) {
                paid = done();
                if (!paid) cpu_pause();
            }
        } while (!paid && now_ns() - start < budget);
        spin_permits::give_back();
        if (!fixed_) {
            const std::int64_t next = paid ? budget * 2 : budget / 2;
            budget_ns_.store(std::clamp(next, floor_ns, ceiling_ns), std::memory_order_relaxed);
        }
        return paid;
    }

  private:
    const bool fixed_;
    std::atomic<std::int64_t> budget_ns_;
};

} // namespace loomy
