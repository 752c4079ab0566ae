#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "loomy/exec/job.hpp"

namespace loomy {

// A C++ callable as a job. The handle that make_job returns owns it; it may let go at any time, the job is
// then disposed of when the pool is done with it.
template <class Function>
class function_job final : public job {
  public:
    using result_type = std::invoke_result_t<Function&>;

    explicit function_job(Function function) : function_(std::move(function)) {
        add_hold(); // the queue's
    }

    bool run(frame&) override {
        try {
            if constexpr (std::is_void_v<result_type>) {
                function_();
            } else {
                result_.emplace(function_());
            }
            return true;
        } catch (const std::exception&) {
            error_ = std::current_exception();
            return false;
        }
    }
    void on_abandoned(phase, bool) override {}
    void dispose() override { delete this; }

    // After it has finished.
    [[nodiscard]] std::exception_ptr error() const noexcept { return error_; }
    template <class R = result_type>
    [[nodiscard]] const R& result() const {
        if (error_) std::rethrow_exception(error_);
        return *result_;
    }

  private:
    struct nothing {};
    Function function_;
    std::optional<std::conditional_t<std::is_void_v<result_type>, nothing, result_type>> result_;
    std::exception_ptr error_;
};

struct drop_job_owner {
    template <class Job>
    void operator()(Job* owned) const {
        if (owned->drop_owner()) owned->dispose();
    }
};

template <class Job>
using job_handle = std::unique_ptr<Job, drop_job_owner>;

// A pending job, ready for pool::submit. If it is not submitted after all, call drop_hold() on it first.
template <class Function>
[[nodiscard]] job_handle<function_job<Function>> make_job(Function function) {
    return job_handle<function_job<Function>>(new function_job<Function>(std::move(function)));
}

} // namespace loomy
