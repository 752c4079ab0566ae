#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "loomy/base/cacheline.hpp"

namespace loomy {

// Durations in power-of-two buckets: entry i counts 2^(i-1) <= ns < 2^i.
using histogram = std::array<std::uint64_t, 48>;

[[nodiscard]] constexpr std::size_t bucket_of(std::int64_t ns) noexcept {
    const auto bits = static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(ns > 0 ? ns : 0)));
    return bits < histogram{}.size() ? bits : histogram{}.size() - 1;
}

// A counter with one writer at a time (the user of a slot) and any number of readers: no locked instruction.
class owned_counter {
  public:
    void add(std::uint64_t n = 1) noexcept { value_.store(get() + n, std::memory_order_relaxed); }
    void take_back() noexcept { value_.store(get() - 1, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::uint64_t> value_{0};
};

// What happened on one slot. Written by whoever has the slot, so without contention.
struct alignas(cache_line) slot_stats {
    owned_counter started;
    owned_counter finished; // functions that returned, whatever became of the job
    owned_counter completed;
    owned_counter failed;
    owned_counter inlined; // run by a caller on its own thread
    owned_counter parks;
    owned_counter busy_ns;
    std::array<owned_counter, histogram{}.size()> queue_wait;
    std::array<owned_counter, histogram{}.size()> run_time;

    // Whether to time the next job. Two clock reads cost as much as a short job, so of short ones only every
    // sixty-fourth is timed and counts for all of them; jobs that last are all timed.
    [[nodiscard]] bool should_time() noexcept {
        return last_run_ns >= long_enough_ns || (++ticks & 63) == 0 || ticks == 1;
    }
    void record_run(std::int64_t ns) noexcept {
        const std::uint64_t weight =
            last_run_ns >= long_enough_ns || ns >= long_enough_ns || ticks <= 1 ? 1 : 64;
        busy_ns.add(static_cast<std::uint64_t>(ns) * weight);
        run_time[bucket_of(ns)].add(weight);
        last_run_ns = ns;
    }

    static constexpr std::int64_t long_enough_ns = 2'000;
    std::uint64_t ticks = 0;
    std::int64_t last_run_ns = 0;
};

// Everything a pool counts, read at one moment.
struct pool_stats {
    std::uint64_t submitted = 0, queued = 0, running = 0, completed = 0, failed = 0, cancelled = 0,
                  timed_out = 0, refused = 0, rejected = 0, workers = 0, idle = 0, peak_queued = 0, wakes = 0,
                  parks = 0, inlined = 0;
    double busy_seconds = 0;
    histogram queue_wait{}, run_time{};
};

} // namespace loomy
