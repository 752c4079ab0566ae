#pragma once

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_group.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <utility>

#include "loomy/base/cpu.hpp"

namespace bench {

// oneTBB has one set of threads for the process, as many as CPUs, and counts the caller among them. So `size`
// is the number of threads that run tasks, the one that waits included; at least one other is needed.
class tbb_pool {
  public:
    static constexpr const char* name = "oneTBB task_group";
    static constexpr const char* note = "who waits runs queued tasks itself; newest first on one thread";

    explicit tbb_pool(unsigned size)
        : own_threads_(std::max(1u, size - 1)),
          limit_(oneapi::tbb::global_control::max_allowed_parallelism, own_threads_ + 1) {
        if (loomy::usable_cpus() < 2) throw std::runtime_error("oneTBB has no threads of its own on one CPU");
    }
    ~tbb_pool() noexcept { group_.wait(); }
    tbb_pool(const tbb_pool&) = delete;
    tbb_pool& operator=(const tbb_pool&) = delete;

    template <class Function>
    void post(Function function) {
        group_.run(std::move(function));
    }
    template <class Function>
    void call(Function function) {
        group_.run_and_wait(std::move(function));
    }
    template <class Function>
    void fan_out(std::uint64_t jobs, const Function& function) {
        for (std::uint64_t i = 0; i < jobs; ++i) group_.run(function);
        group_.wait();
    }
    void wait_for_all() { group_.wait(); }
    [[nodiscard]] unsigned own_threads() const noexcept { return own_threads_; }

  private:
    const unsigned own_threads_;
    oneapi::tbb::global_control limit_;
    oneapi::tbb::task_group group_;
};

// The counterpart of a batch.
class tbb_parallel_for : public tbb_pool {
  public:
    static constexpr const char* name = "oneTBB parallel_for";
    static constexpr const char* note = "";

    using tbb_pool::tbb_pool;

    template <class Function>
    void fan_out(std::uint64_t jobs, const Function& function) {
        oneapi::tbb::parallel_for(oneapi::tbb::blocked_range<std::uint64_t>(0, jobs), [&](const auto& range) {
            for (std::uint64_t i = range.begin(); i != range.end(); ++i) function();
        });
    }
};

} // namespace bench
