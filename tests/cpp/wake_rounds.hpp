#pragma once

// Submissions, and gaps between them, that find workers in every state between a search and a deep sleep.

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <thread>
#include <utility>

#include "loomy/base/clock.hpp"
#include "loomy/base/cpu.hpp"
#include "loomy/exec/function_job.hpp"
#include "loomy/exec/pool.hpp"
#include "pool_race.hpp"

namespace loomy::testing {

// For a watchdog: a wake-up that takes so long was lost.
inline constexpr std::chrono::seconds wake_up_patience(2);

inline pool_options spinning(std::int64_t ns) {
    pool_options options;
    options.spin_ns = ns;
    return options;
}

// Submits and lets go of it: the pool disposes of the job.
template <class Function>
void throw_in(pool& into, Function function) {
    auto one = make_job(std::move(function));
    if (into.submit(*one) != submitted::accepted) std::abort();
}

// 0 to 200 us: mostly about as long as a worker takes from its last look at the queue to its sleep, sometimes
// long enough for it to be asleep, sometimes none.
inline void random_gap(std::mt19937& random) {
    const auto dice = random();
    std::int64_t longest_ns = 2'000;
    switch (dice % 16) {
        case 0:
            return;
        case 1:
            std::this_thread::sleep_for(std::chrono::microseconds(1));
            return;
        case 2:
        case 3:
            longest_ns = 200'000;
            break;
        case 4:
        case 5:
        case 6:
            longest_ns = 20'000;
            break;
        default:
            break;
    }
    const deadline over = deadline::after(static_cast<std::int64_t>(dice / 16) % longest_ns);
    while (!over.passed()) cpu_pause();
}

} // namespace loomy::testing
