#pragma once

#include <nanobench.h>

#include <algorithm>
#include <cstdint>
#include <ctime>

#include "sample.hpp"

namespace bench {

[[nodiscard]] inline double process_cpu_seconds() noexcept {
    std::timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Wall and CPU time of one call of `run`, which does so many operations. nanobench takes an epoch of one
// iteration: rounds have to be interleaved between processes, so the epochs are ours.
template <class Run>
[[nodiscard]] sample measure(std::uint64_t operations, Run&& run) {
    ankerl::nanobench::Bench epoch;
    epoch.output(nullptr).performanceCounters(false).epochs(1).epochIterations(1);
    const double cpu = process_cpu_seconds();
    epoch.run(run);
    sample taken;
    taken.cpu_seconds = process_cpu_seconds() - cpu;
    taken.wall_seconds = epoch.results().back().median(ankerl::nanobench::Result::Measure::elapsed);
    taken.ns = taken.wall_seconds * 1e9 / static_cast<double>(operations);
    return taken;
}

// A contender whose round is "so many operations"; how many, is found out once, for a round of about
// `round_seconds`.
class counted_contender : public contender {
  public:
    sample round() final {
        if (operations_ == 0) return calibrate();
        return once(operations_);
    }

  protected:
    explicit counted_contender(std::uint64_t at_most = 1u << 26) : at_most_(at_most) {}

    virtual void prepare(std::uint64_t) {}           // not measured
    virtual void run(std::uint64_t operations) = 0;  // measured
    virtual void finish(std::uint64_t, sample&) = 0; // not measured: checks the answers, adds columns

  private:
    static constexpr double round_seconds = 0.03;

    sample once(std::uint64_t operations) {
        prepare(operations);
        sample taken = measure(operations, [&] { run(operations); });
        finish(operations, taken);
        return taken;
    }

    sample calibrate() {
        std::uint64_t operations = std::min<std::uint64_t>(64, at_most_);
        for (;;) {
            sample taken = once(operations);
            if (taken.wall_seconds >= round_seconds || operations == at_most_ || taken.wrong[0] != 0) {
                operations_ = operations;
                return taken;
            }
            // Not further than ten times: a cold start says little about what follows.
            const double factor =
                std::clamp(round_seconds * 1.1 / std::max(taken.wall_seconds, 1e-9), 1.1, 10.0);
            operations =
                std::min(at_most_, static_cast<std::uint64_t>(static_cast<double>(operations) * factor) + 1);
        }
    }

    const std::uint64_t at_most_;
    std::uint64_t operations_ = 0;
};

} // namespace bench
