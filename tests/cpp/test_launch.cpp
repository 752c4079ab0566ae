#include "loomy/exec/launch.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "loomy/exec/function_job.hpp"
#include "loomy/exec/native_threads.hpp"
#include "pool_fixture.hpp"
#include "pool_race.hpp"

using namespace loomy;
using namespace loomy::testing;

namespace {

using body = std::function<int(const loomy_call&)>;

int call_body(const loomy_call* call) {
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

handle make(pool_fixture& home, const launch_request& what, launch::ends how = launch::ends::when_asked) {
    return handle(new launch(*home, what, how));
}

enum class way { queued, shared };

// Launches, waits, and says what became of it.
launch_outcome run(pool_fixture& home, launch& what, way how = way::queued,
                   const ref<cancel_token>& token = {}) {
    native_env env;
    const submitted answer =
        how == way::queued ? launch_queued(*home, what, token) : launch_sharing(*home, what, env, token);
    REQUIRE(answer == submitted::accepted);
    (void)home->wait(what, deadline::never());
    REQUIRE(what.finished());
    return what.outcome();
}

std::vector<std::uint64_t> bits(const std::vector<double>& of) {
    std::vector<std::uint64_t> out(of.size());
    std::memcpy(out.data(), of.data(), of.size() * sizeof(double));
    return out;
}

} // namespace

TEST_CASE("every item is in exactly one chunk, whatever the partition and the number of workers") {
    for (const std::uint32_t workers : {1u, 2u, 5u}) {
        for (const way how : {way::queued, way::shared}) {
            for (const std::int64_t total : {1, 2, 7, 64, 1'000, 100'003}) {
                for (const std::int64_t chunks : {0, 1, 3, 16, 5'000}) {
                    pool_fixture pool(workers);
                    std::vector<std::atomic<int>> hits(static_cast<std::size_t>(total));
                    std::atomic<bool> sane{true};
                    const test_kernel kernel([&](const loomy_call& call) {
                        if (call.begin >= call.end || call.worker >= call.launch->num_workers) sane = false;
                        for (std::int64_t i = call.begin; i < call.end; ++i)
                            hits[static_cast<std::size_t>(i)].fetch_add(1, std::memory_order_relaxed);
                        return LOOMY_OK;
                    });
                    const handle one = make(pool, kernel.over(total, chunks));
                    const launch_outcome end = run(pool, *one, how);
                    CHECK(end.as == phase::done);
                    CHECK(end.code == LOOMY_OK);
                    CHECK(sane);
                    CHECK(std::all_of(hits.begin(), hits.end(), [](const auto& hit) { return hit == 1; }));
                    const pool_stats stats = pool->stats();
                    CHECK(stats.submitted == 1);
                    CHECK(stats.completed == 1);
                }
            }
        }
    }
}
