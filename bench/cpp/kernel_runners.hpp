#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>

#if BENCH_HAS_OPENMP
#include <omp.h>
#endif

#include "kernel_work.hpp"
#include "loomy/exec/function_job.hpp"
#include "loomy/exec/launch.hpp"
#include "loomy/exec/native_threads.hpp"
#include "loomy/kernel.h"

namespace bench {

// Each runs a function over [0, total): `run` as the system likes to cut it, `run_in_chunks` an item at a
// time.

struct sequential_runner {
    static constexpr const char* name = "sequential";
    explicit sequential_runner(unsigned) {}
    void run(range_function function, arrays& on, std::int64_t total) { function(on, 0, total); }
    void run_in_chunks(range_function function, arrays& on, std::int64_t total) {
        for (std::int64_t i = 0; i < total; ++i) function(on, i, i + 1);
    }
};

class loomy_runner {
  public:
    static constexpr const char* name = "loomy";

    explicit loomy_runner(unsigned threads)
        : core_(loomy::ref<loomy::pool>::adopt(new loomy::pool({}, threads_))) {
        if (!core_->resize(threads)) throw std::runtime_error("the pool cannot be made");
    }
    ~loomy_runner() {
        core_->drain();
        (void)core_->wait_for_size(0, loomy::deadline::never());
    }
    loomy_runner(const loomy_runner&) = delete;
    loomy_runner& operator=(const loomy_runner&) = delete;

    void run(range_function function, arrays& on, std::int64_t total) { launch(function, on, total, 0); }
    void run_in_chunks(range_function function, arrays& on, std::int64_t total) {
        launch(function, on, total, total);
    }

  private:
    struct work {
        range_function function;
        arrays& on;
    };
    static int run_chunk(const loomy_call* call) {
        const auto& what = *static_cast<const work*>(call->launch->user_data);
        what.function(what.on, call->begin, call->end);
        return LOOMY_OK;
    }

    void launch(range_function function, arrays& on, std::int64_t total, std::int64_t chunks) {
        work what{function, on};
        const std::int64_t shape[] = {static_cast<std::int64_t>(on.x.size())};
        const std::int64_t strides[] = {sizeof(float)};
        const loomy_dtype f4 = {LOOMY_FLOAT, 32, 1};
        const loomy_buffer args[] = {
            {on.x.data(), shape, strides, 1, f4, sizeof(float), LOOMY_BUF_C_CONTIG | LOOMY_BUF_READONLY, 0},
            {on.y.data(), shape, strides, 1, f4, sizeof(float), LOOMY_BUF_C_CONTIG, 0}};
        loomy::launch_request request;
        request.kernel = &kernel_;
        request.args = args;
        request.nargs = 2;
        request.total = total;
        request.chunks = chunks;
        request.user_data = &what;
        // What an item costs is remembered for a function, as a kernel object does it.
        if (function != known_) cost_.emplace();
        known_ = function;
        request.cost = &*cost_;
        const loomy::job_handle<loomy::launch> one(
            new loomy::launch(*core_, request, loomy::launch::ends::with_its_chunks));
        if (loomy::launch_sharing(*core_, *one, env_) != loomy::submitted::accepted)
            throw std::runtime_error("the launch was not accepted");
        while (!one->finished()) (void)core_->wait(*one, loomy::deadline::never());
        if (one->outcome().code != LOOMY_OK) throw std::runtime_error("the launch failed");
    }

    static constexpr loomy_kernel kernel_ = {
        LOOMY_KERNEL_HEADER, "bench", nullptr, nullptr, &run_chunk, nullptr, nullptr, nullptr, 0,
        LOOMY_K_NOEXCEPT};

    loomy::native_threads threads_;
    loomy::native_env env_;
    std::optional<loomy::cost_estimate> cost_;
    range_function known_ = nullptr;
    loomy::ref<loomy::pool> core_;
};

#if BENCH_HAS_OPENMP
struct openmp_runner {
    static constexpr const char* name = "OpenMP";
    explicit openmp_runner(unsigned threads) { omp_set_num_threads(static_cast<int>(threads)); }
    // schedule(static): one range a thread.
    void run(range_function function, arrays& on, std::int64_t total) {
#pragma omp parallel
        {
            const std::int64_t threads = omp_get_num_threads();
            const std::int64_t self = omp_get_thread_num();
            function(on, total * self / threads, total * (self + 1) / threads);
        }
    }
    void run_in_chunks(range_function function, arrays& on, std::int64_t total) {
#pragma omp parallel for schedule(dynamic, 1)
        for (std::int64_t i = 0; i < total; ++i) function(on, i, i + 1);
    }
};
#endif

} // namespace bench
