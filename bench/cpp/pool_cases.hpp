#pragma once

#include <sys/resource.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "job_count.hpp"
#include "latency_histogram.hpp"
#include "loomy/base/clock.hpp"
#include "loomy/sync/address_wait.hpp"
#include "measure.hpp"
#include "wake_up.hpp"

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

inline constexpr unsigned workers = 2;

// Jobs are queued while the only worker is held up: the price of a submission. Then the worker is let go,
// unmeasured. With handles each can be waited for and cancelled; without, nobody hears of it again.
template <class Pool, bool Handles>
class submission : public counted_contender {
  public:
    submission() : counted_contender(100'000) { warm_up(pool_, 1); }
    void prepare(std::uint64_t operations) override {
        gate_.emplace();
        pool_.post([this] { gate_->pass(); });
        gate_->await(1);
        before_ = ran_.total();
        if constexpr (Handles) handles_.reserve(operations);
    }
    void run(std::uint64_t operations) override {
        for (std::uint64_t i = 0; i < operations; ++i) {
            if constexpr (Handles) {
                handles_.push_back(pool_.submit(counted{this}));
            } else {
                pool_.post(counted{this});
            }
        }
    }
    void finish(std::uint64_t operations, sample& taken) override {
        taken.check(ran_.total() == before_, "a job ran though the worker was held up");
        gate_->open();
        if constexpr (requires { pool_.wait_for_all(); }) pool_.wait_for_all();
        ran_.await(before_ + operations);
        taken.check(ran_.total() == before_ + operations, "not every job ran once");
        if constexpr (Handles) {
            for (auto& one : handles_) pool_.wait(one);
            handles_.clear();
        }
    }

  private:
    struct counted {
        submission* self;
        void operator()() const { self->ran_.add(); }
    };
    struct nothing {};
    template <bool Wanted, class = void>
    struct handles_of {
        using type = nothing;
    };
    template <class Unused>
    struct handles_of<true, Unused> {
        using type = std::vector<typename Pool::template ticket<counted>>;
    };

    job_count ran_;
    std::optional<barrier_gate> gate_;
    std::uint64_t before_ = 0;
    Pool pool_{1};
    typename handles_of<Handles>::type handles_;
};

template <class Pool>
class submit_with_handles final : public submission<Pool, true> {};
template <class Pool>
class submit_and_forget final : public submission<Pool, false> {};

// Submit one job, wait for it, again and again.
template <class Pool>
class round_trip final : public counted_contender {
  public:
    round_trip() : counted_contender(1u << 20) { warm_up(pool_, workers); }
    void run(std::uint64_t operations) override {
        const sleep_count<Pool> sleeps(pool_);
        before_ = ran_.total();
        std::int64_t began = loomy::now_ns();
        for (std::uint64_t i = 0; i < operations; ++i) {
            if constexpr (requires { pool_.call([] {}); }) {
                pool_.call([this] { ran_.add(); });
            } else {
                auto made = pool_.submit([this] { ran_.add(); });
                pool_.wait(made);
            }
            const std::int64_t now = loomy::now_ns();
            latencies_.add(now - began);
            began = now;
        }
        slept_ = {};
        sleeps.report(slept_, operations);
    }
    void finish(std::uint64_t operations, sample& taken) override {
        taken.p50 = latencies_.quantile(0.5);
        taken.p99 = latencies_.quantile(0.99);
        taken.extras = slept_.extras;
        taken.extra_count = slept_.extra_count;
        taken.check(ran_.total() == before_ + operations, "not every job ran once");
    }

  private:
    job_count ran_;
    latency_histogram latencies_;
    std::uint64_t before_ = 0;
    sample slept_;
    Pool pool_{workers};
};

// So many jobs at once, and wait for all; ns are per job.
template <class Pool>
class fan_out final : public counted_contender {
  public:
    explicit fan_out(std::uint64_t width) : width_(width) { warm_up(pool_, workers); }
    void run(std::uint64_t operations) override {
        const sleep_count<Pool> sleeps(pool_);
        before_ = ran_.total();
        for (std::uint64_t i = 0; i < turns(operations); ++i) pool_.fan_out(width_, [this] { ran_.add(); });
        slept_ = {};
        sleeps.report(slept_, turns(operations) * width_);
    }
    void finish(std::uint64_t operations, sample& taken) override {
        const std::uint64_t jobs = turns(operations) * width_;
        taken.ns *= static_cast<double>(operations) / static_cast<double>(jobs);
        taken.extras = slept_.extras;
        taken.extra_count = slept_.extra_count;
        taken.check(ran_.total() == before_ + jobs, "not every job ran once");
    }

  private:
    [[nodiscard]] std::uint64_t turns(std::uint64_t operations) const {
        return (operations + width_ - 1) / width_;
    }

    const std::uint64_t width_;
    job_count ran_;
    std::uint64_t before_ = 0;
    sample slept_;
    Pool pool_{workers};
};

// A submitter that is faster than the worker and blocks at each full queue of 64.
template <class Pool>
class bounded final : public counted_contender {
  public:
    bounded() : counted_contender(1u << 20) { warm_up(pool_, 1); }
    void run(std::uint64_t operations) override {
        const sleep_count<Pool> sleeps(pool_);
        before_ = ran_.total();
        for (std::uint64_t i = 0; i < operations; ++i) pool_.post([this] { ran_.add(); });
        ran_.await(before_ + operations);
        slept_ = {};
        sleeps.report(slept_, operations);
    }
    void finish(std::uint64_t operations, sample& taken) override {
        taken.extras = slept_.extras;
        taken.extra_count = slept_.extra_count;
        taken.check(ran_.total() == before_ + operations, "not every job ran once");
    }

  private:
    job_count ran_;
    std::uint64_t before_ = 0;
    sample slept_;
    Pool pool_{1, 64};
};

// Jobs that are queued behind a held up worker are cancelled, one by one.
template <class Pool>
class cancel final : public counted_contender {
  public:
    cancel() : counted_contender(50'000) { warm_up(pool_, 1); }
    void prepare(std::uint64_t operations) override {
        gate_.emplace();
        pool_.post([this] { gate_->pass(); });
        gate_->await(1);
        queued_.clear();
        for (std::uint64_t i = 0; i < operations; ++i) queued_.push_back(pool_.submit(counted{this}));
        cancelled_ = 0;
    }
    void run(std::uint64_t) override {
        for (auto& one : queued_) cancelled_ += pool_.cancel(one);
    }
    void finish(std::uint64_t operations, sample& taken) override {
        gate_->open();
        warm_up(pool_, 1); // a job behind them all
        taken.check(cancelled_ == operations, "not every job could be cancelled");
        taken.check(ran_.total() == 0, "a cancelled job ran");
    }

  private:
    struct counted {
        cancel* self;
        void operator()() const { self->ran_.add(); }
    };

    job_count ran_;
    std::optional<barrier_gate> gate_;
    std::uint64_t cancelled_ = 0;
    Pool pool_{1};
    std::vector<typename Pool::template ticket<counted>> queued_;
};

// Make a pool of two workers, run two jobs on it, end it.
template <class Pool>
class create_destroy final : public counted_contender {
  public:
    create_destroy() : counted_contender(10'000) {}
    void run(std::uint64_t operations) override {
        before_ = ran_.total();
        for (std::uint64_t i = 0; i < operations; ++i) {
            Pool pool(workers);
            for (unsigned job = 0; job < workers; ++job) pool.post([this] { ran_.add(); });
        }
    }
    void finish(std::uint64_t operations, sample& taken) override {
        taken.check(ran_.total() == before_ + workers * operations, "not every job ran once");
    }

  private:
    job_count ran_;
    std::uint64_t before_ = 0;
};

// Ending a pool of eight workers that all sleep.
template <class Pool>
class idle_shutdown final : public contender {
  public:
    sample round() override {
        constexpr unsigned many = 8;
        constexpr int pools = 20;
        sample taken;
        const double cpu = process_cpu_seconds();
        for (int i = 0; i < pools; ++i) {
            std::optional<Pool> pool(std::in_place, many);
            warm_up(*pool, many);
            stay_awake(loomy::now_ns() + 200'000); // until the last has gone to sleep
            const std::int64_t began = loomy::now_ns();
            pool.reset();
            const std::int64_t took = loomy::now_ns() - began;
            latencies_.add(took);
            taken.wall_seconds += static_cast<double>(took) * 1e-9;
        }
        taken.cpu_seconds = process_cpu_seconds() - cpu;
        taken.ns = taken.wall_seconds * 1e9 / pools;
        taken.p50 = latencies_.quantile(0.5);
        taken.p99 = latencies_.quantile(0.99);
        return taken;
    }

  private:
    latency_histogram latencies_;
};

// A burst of jobs at a pool that has been idle for `gap_ns`: from just before each submission to the start of
// its job.
template <class Pool>
class submit_to_start final : public contender {
  public:
    submit_to_start(std::int64_t gap_ns, std::uint64_t burst)
        : gap_ns_(gap_ns), burst_(burst), stamps_(burst) {
        warm_up(pool_, workers);
    }
    sample round() override {
        const auto bursts = static_cast<std::uint64_t>(
            40'000'000 / (gap_ns_ + 20'000 + 200 * static_cast<std::int64_t>(burst_)));
        const std::uint64_t before = ran_.total();
        double summed = 0;
        const sleep_count<Pool> sleeps(pool_);
        const double cpu = process_cpu_seconds();
        const std::int64_t start = loomy::now_ns();
        for (std::uint64_t i = 0; i < bursts; ++i) {
            stay_awake(loomy::now_ns() + gap_ns_);
            for (stamp& one : stamps_) {
                one.sent_ns = loomy::now_ns();
                pool_.post([this, &one] {
                    one.started_ns = loomy::now_ns();
                    ran_.add();
                });
            }
            // Polling, not waiting: a waiter would run jobs itself, or sleep.
            const std::uint64_t wanted = before + (i + 1) * burst_;
            while (ran_.total() != wanted) loomy::cpu_pause();
            for (const stamp& one : stamps_) {
                latencies_.add(one.started_ns - one.sent_ns);
                summed += static_cast<double>(one.started_ns - one.sent_ns);
            }
        }
        sample taken;
        taken.wall_seconds = static_cast<double>(loomy::now_ns() - start) * 1e-9;
        taken.cpu_seconds = process_cpu_seconds() - cpu;
        taken.ns = summed / static_cast<double>(bursts * burst_);
        taken.p50 = latencies_.quantile(0.5);
        taken.p99 = latencies_.quantile(0.99);
        sleeps.report(taken, bursts * burst_);
        return taken;
    }

  private:
    struct stamp {
        std::int64_t sent_ns = 0, started_ns = 0;
    };

    const std::int64_t gap_ns_;
    const std::uint64_t burst_;
    job_count ran_;
    std::vector<stamp> stamps_; // a job's write is released by its count, which is read before the stamp is
    latency_histogram latencies_;
    Pool pool_{workers};
};

} // namespace bench
