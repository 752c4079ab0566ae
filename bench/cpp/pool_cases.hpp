#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "job_count.hpp"
#include "latency_histogram.hpp"
#include "loomy/base/clock.hpp"
#include "measure.hpp"
#include "pool_support.hpp"
#include "wake_up.hpp"

namespace bench {

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

} // namespace bench
