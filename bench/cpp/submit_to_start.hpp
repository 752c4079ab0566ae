#pragma once

#include <cstdint>
#include <vector>

#include "job_count.hpp"
#include "latency_histogram.hpp"
#include "loomy/base/clock.hpp"
#include "measure.hpp"
#include "pool_support.hpp"
#include "wake_up.hpp"

namespace bench {

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
