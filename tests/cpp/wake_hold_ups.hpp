#pragma once

// Holds threads up at the steps of the sleep/wake protocol and of the queue inside it. Include it in the one
// translation unit of a test program that is built with LOOMY_INJECT.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "loomy/exec/wake_step.hpp"
#include "queue_dice.hpp"

namespace wake_test {

using loomy::wake_step;

inline constexpr std::size_t step_count = static_cast<std::size_t>(wake_step::count_);
inline std::array<std::atomic<std::uint64_t>, step_count> reached{};

// Two steps at which threads are held up for long; at all others, and those of the queue, for a moment.
inline std::atomic<wake_step> long_at{wake_step::count_}, long_at_too{wake_step::count_};

inline queue_test::dice& dice_of_this_thread() noexcept {
    static std::atomic<std::size_t> threads{0};
    thread_local queue_test::dice mine(threads.fetch_add(1) + 1);
    return mine;
}

// Longer than what the others need for all of their own steps, a wake-up included.
inline void doze() {
    std::this_thread::sleep_for(std::chrono::microseconds(1)); // 50 us or so, as systems round it
}

inline void hold_up_somewhere() {
    // Few yields, as each may let pass the time slices of all the others.
    const std::uint32_t dice = dice_of_this_thread().below(256);
    if (dice < 4) {
        doze();
    } else if (dice < 6) {
        std::this_thread::yield();
    }
}

} // namespace wake_test

namespace loomy {

void wake_hook::at(wake_step step) noexcept {
    using namespace wake_test;
    reached[static_cast<std::size_t>(step)].fetch_add(1, std::memory_order_relaxed);
    const bool for_long = step == long_at.load(std::memory_order_relaxed) ||
                          step == long_at_too.load(std::memory_order_relaxed);
    if (for_long && dice_of_this_thread().below(2) == 0) {
        doze();
    } else {
        hold_up_somewhere();
    }
}

void wake_hook::at(queue_step) noexcept {
    wake_test::hold_up_somewhere();
}

} // namespace loomy
