#pragma once

// Kernels that a test writes as lambdas, and launching them.

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "loomy/exec/function_job.hpp"
#include "loomy/exec/launch.hpp"
#include "loomy/exec/native_threads.hpp"
#include "pool_fixture.hpp"
#include "pool_race.hpp"

namespace loomy::testing {

using body = std::function<int(const loomy_call&)>;

inline int call_body(const loomy_call* call) {
    return (*static_cast<const body*>(call->launch->user_data))(*call);
}

// A kernel whose chunks a test writes as a lambda.
struct test_kernel {
    explicit test_kernel(body what_, std::uint64_t flags = 0) : what(std::move(what_)) {
        kernel = {
            LOOMY_KERNEL_HEADER, "test", nullptr, nullptr, &call_body, nullptr, nullptr, &what, 0, flags};
    }
    test_kernel(const test_kernel&) = delete;
    test_kernel& operator=(const test_kernel&) = delete;

    [[nodiscard]] launch_request over(std::int64_t total, std::int64_t chunks = 0,
                                      std::int64_t grain = 0) const {
        launch_request request;
        request.kernel = &kernel;
        request.total = total;
        request.chunks = chunks;
        request.grain = grain;
        return request;
    }

    body what;
    loomy_kernel kernel{};
};

struct counted_launch final : launch {
    counted_launch(pool& home, const launch_request& what, std::atomic<int>& releases_,
                   ends how = ends::when_asked)
        : launch(home, what, how), releases(releases_) {}
    void released() override { releases.fetch_add(1); }
    std::atomic<int>& releases;
};

using handle = job_handle<launch>;

inline handle make(pool_fixture& home, const launch_request& what,
                   launch::ends how = launch::ends::when_asked) {
    return handle(new launch(*home, what, how));
}

enum class way { queued, shared };

// Launches, waits, and says what became of it.
inline launch_outcome run(pool_fixture& home, launch& what, way how = way::queued,
                          const ref<cancel_token>& token = {}) {
    native_env env;
    const submitted answer =
        how == way::queued ? launch_queued(*home, what, token) : launch_sharing(*home, what, env, token);
    REQUIRE(answer == submitted::accepted);
    (void)home->wait(what, deadline::never());
    REQUIRE(what.finished());
    return what.outcome();
}

} // namespace loomy::testing
