#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "loomy/exec/function_job.hpp"
#include "loomy/exec/launch.hpp"

namespace loomy::py {

// A launch that another extension asks for. It has copies of what describes the arguments, and ends with its
// chunks, since what the arguments point to is the caller's.
class host_flight final : public launch {
  public:
    // Throws std::bad_alloc.
    [[nodiscard]] static job_handle<host_flight> make(pool& on, launch_request what);
    // fn over [begin, end).
    [[nodiscard]] static job_handle<host_flight> make_loop(pool& on, std::int64_t begin, std::int64_t end,
                                                           std::int64_t grain, loomy_range_fn fn,
                                                           void* context);

  private:
    struct descriptions {
        std::vector<std::int64_t> lengths; // shapes and strides
        std::vector<loomy_buffer> buffers;
        void copy(const launch_request& what);
    };
    struct loop {
        std::int64_t begin;
        loomy_range_fn fn;
        void* context;
    };
    host_flight(pool& on, const launch_request& what, std::unique_ptr<descriptions> args,
                std::unique_ptr<loop> body) noexcept
        : launch(on, what, ends::with_its_chunks), args_(std::move(args)), body_(std::move(body)) {}
    static int run_loop(const loomy_call* call);

    const std::unique_ptr<descriptions> args_;
    const std::unique_ptr<loop> body_;
};

} // namespace loomy::py
