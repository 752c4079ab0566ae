#pragma once

#include <sys/resource.h>

#include <atomic>
#include <cstdint>

#include "job_count.hpp"
#include "loomy/sync/address_wait.hpp"
#include "sample.hpp"
#include "team.hpp"

namespace bench {

// Jobs wait here, asleep, so that a worker is occupied.
class barrier_gate {
  public:
    void pass() {
        inside_.fetch_add(1, std::memory_order_release);
        while (open_.load(std::memory_order_acquire) == 0)
            (void)loomy::wait_on_address(open_, 0, loomy::deadline::never());
    }
    void await(unsigned jobs) const {
        for (patience idle; inside_.load(std::memory_order_acquire) != jobs;) idle.wait();
    }
    void open() {
        open_.store(1, std::memory_order_release);
        loomy::wake_all_at_address(&open_);
    }

  private:
    std::atomic<unsigned> inside_{0};
    std::atomic<std::uint32_t> open_{0};
};

// Every thread of the pool runs a job at the same time, once: a warm-up by many small jobs starts only as
// many threads as it needs.
template <class Pool>
void warm_up(Pool& pool, unsigned threads) {
    if constexpr (requires { pool.own_threads(); }) threads = pool.own_threads();
    barrier_gate gate;
    job_count left;
    for (unsigned i = 0; i < threads; ++i) {
        pool.post([&] {
            gate.pass();
            left.add();
        });
    }
    gate.await(threads);
    gate.open();
    left.await(threads);
}

// How often threads were put to sleep and woken during some jobs: what every system pays, whatever it counts
// itself.
template <class Pool>
class sleep_count {
  public:
    explicit sleep_count(Pool& pool) : pool_(pool), switches_(switches()), wakes_(wakes()) {}
    void report(sample& into, std::uint64_t jobs) const {
        const double per_job = 1 / static_cast<double>(jobs);
        if constexpr (counts_wakes) into.add("wakes_per_job", (wakes() - wakes_) * per_job);
        into.add("switches_per_job", (switches() - switches_) * per_job);
    }

  private:
    static constexpr bool counts_wakes = requires(Pool & pool) { pool.wakes(); };

    [[nodiscard]] static double switches() {
        rusage used{};
        getrusage(RUSAGE_SELF, &used);
        return static_cast<double>(used.ru_nvcsw);
    }
    [[nodiscard]] double wakes() const {
        if constexpr (counts_wakes) return pool_.wakes();
        return 0;
    }

    Pool& pool_;
    const double switches_, wakes_;
};

// Of the pools that are compared, unless a case says otherwise.
inline constexpr unsigned workers = 2;

} // namespace bench
