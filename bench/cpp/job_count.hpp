#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "team.hpp"

namespace bench {

// What the jobs do: count themselves, each thread on a cache line of its own, so that counting costs the same
// few instructions whoever runs them.
class job_count {
  public:
    void add() noexcept {
        cell& mine = cells_[this_thread() % cells_.size()];
        mine.value.store(mine.value.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    [[nodiscard]] std::uint64_t total() const noexcept {
        std::uint64_t sum = 0;
        for (const cell& one : cells_) sum += one.value.load(std::memory_order_acquire);
        return sum;
    }
    void await(std::uint64_t wanted) const {
        for (patience idle; total() < wanted;) idle.wait();
    }

  private:
    struct alignas(64) cell {
        std::atomic<std::uint64_t> value{0};
    };
    static std::size_t this_thread() noexcept {
        thread_local const std::size_t mine = threads_.fetch_add(1, std::memory_order_relaxed);
        return mine;
    }

    inline static std::atomic<std::size_t> threads_{0};
    // More than threads live at once in any case; a thread that has ended may share its cell with a later
    // one.
    std::array<cell, 64> cells_;
};

} // namespace bench
