#include "loomy/exec/launch.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "launch_fixture.hpp"

using namespace loomy;
using namespace loomy::testing;

TEST_CASE("a nested loop does every item once, on one worker too, from a worker and from a caller") {
    for (const std::uint32_t workers : {1u, 2u, 4u}) {
        for (const way how : {way::queued, way::shared}) {
            pool_fixture pool(workers);
            constexpr std::int64_t rows = 20, columns = 500;
            std::vector<std::atomic<int>> hits(rows * columns);
            struct row {
                std::vector<std::atomic<int>>& hits;
                std::int64_t number;
            };
            const auto part = [](const loomy_call* call, void* context) {
                const auto& self = *static_cast<row*>(context);
                if (call->begin < 100 || call->end > 100 + columns) return -1;
                if (call->worker >= call->launch->num_workers) return -1;
                for (std::int64_t i = call->begin - 100; i < call->end - 100; ++i)
                    self.hits[static_cast<std::size_t>(self.number * columns + i)].fetch_add(1);
                return 0;
            };
            const test_kernel kernel([&](const loomy_call& call) -> int {
                for (std::int64_t i = call.begin; i < call.end; ++i) {
                    row one{hits, i};
                    const int status = loomy_parallel_for(&call, 100, 100 + columns, 7, part, &one);
                    if (status != LOOMY_OK) return status;
                }
                return static_cast<int>(LOOMY_OK);
            });
            const handle one = make(pool, kernel.over(rows, 10));
            CHECK(run(pool, *one, how).code == LOOMY_OK);
            CHECK(std::all_of(hits.begin(), hits.end(), [](const auto& hit) { return hit == 1; }));
            CHECK(pool->stats().submitted == 1);
        }
    }
}

TEST_CASE("an error in a nested loop is the chunk's if it returns it, and stays inside if it does not") {
    pool_fixture pool(2);
    const auto part = [](const loomy_call* call, void*) {
        return call->begin <= 33 && call->end > 33 ? loomy_fail(call, LOOMY_EINDEX, "at %d", 33) : 0;
    };
    for (const bool passes_on : {true, false}) {
        const test_kernel kernel([&](const loomy_call& call) -> int {
            const int status = loomy_parallel_for(&call, 0, 100, 1, part, nullptr);
            return passes_on ? status : status == LOOMY_EINDEX ? static_cast<int>(LOOMY_OK) : -1;
        });
        const handle one = make(pool, kernel.over(4, 4));
        const launch_outcome end = run(pool, *one);
        CHECK(end.code == (passes_on ? LOOMY_EINDEX : LOOMY_OK));
        if (passes_on) CHECK(end.message == "at 33");
    }
    const auto thrower = [](const loomy_call*, void*) -> int { throw std::runtime_error("inner"); };
    const test_kernel kernel([&](const loomy_call& call) -> int {
        return loomy_parallel_for(&call, 0, 100, 1, thrower, nullptr);
    });
    const handle one = make(pool, kernel.over(4, 4));
    const launch_outcome end = run(pool, *one);
    CHECK(end.code == LOOMY_EPANIC);
    CHECK(end.message == "C++ exception of type std::runtime_error: inner");
}

TEST_CASE("a nested loop of more items than one can have is a value error, and runs nothing") {
    pool_fixture pool(2);
    std::atomic<int> calls{0};
    const auto part = [](const loomy_call*, void* context) {
        static_cast<std::atomic<int>*>(context)->fetch_add(1);
        return static_cast<int>(LOOMY_ERROR); // or it would take for ever
    };
    const std::pair<std::int64_t, std::int64_t> ranges[] = {
        {INT64_MIN, INT64_MAX}, {-1, INT64_MAX}, {INT64_MIN, 0}, {0, partition::most_items + 1}};
    for (const auto& [begin, end] : ranges) {
        const test_kernel kernel([&, begin = begin, end = end](const loomy_call& call) -> int {
            return loomy_parallel_for(&call, begin, end, 0, part, &calls);
        });
        const handle one = make(pool, kernel.over(10, 1));
        const launch_outcome was = run(pool, *one);
        CHECK(was.code == LOOMY_EVALUE);
        CHECK(was.message == "a loop inside a chunk has more items than one can have");
        CHECK(calls == 0);
    }
    const auto add = [](const loomy_call* call, void* context) {
        static_cast<std::atomic<int>*>(context)->fetch_add(static_cast<int>(call->end - call->begin));
        return static_cast<int>(call->begin < INT64_MAX - 5 ? LOOMY_ERROR : LOOMY_OK);
    };
    const test_kernel at_the_end([&](const loomy_call& call) -> int {
        return loomy_parallel_for(&call, INT64_MAX - 5, INT64_MAX, 0, add, &calls);
    });
    const handle one = make(pool, at_the_end.over(1, 1));
    CHECK(run(pool, *one).code == LOOMY_OK);
    CHECK(calls == 5);
}

TEST_CASE("stopping a launch stops the loops inside its chunks") {
    pool_fixture pool(2);
    std::atomic<int> deepest{0};
    const auto inner = [](const loomy_call* call, void* context) {
        static_cast<std::atomic<int>*>(context)->fetch_add(1);
        while (loomy_should_stop(call) == 0) std::this_thread::yield();
        return static_cast<int>(LOOMY_CANCELLED);
    };
    struct both {
        loomy_range_fn fn;
        void* context;
    };
    both deeper{inner, &deepest};
    const auto middle = [](const loomy_call* call, void* context) {
        const auto& self = *static_cast<both*>(context);
        return loomy_parallel_for(call, 0, 10, 1, self.fn, self.context);
    };
    const test_kernel kernel(
        [&](const loomy_call& call) -> int { return loomy_parallel_for(&call, 0, 10, 1, middle, &deeper); });
    for (const bool whole_pool : {false, true}) {
        deepest = 0;
        const handle one = make(pool, kernel.over(4, 4), launch::ends::with_its_chunks);
        REQUIRE(launch_queued(*pool, *one) == submitted::accepted);
        REQUIRE(eventually([&] { return deepest != 0; }));
        if (whole_pool) {
            pool->stop_running();
        } else {
            CHECK(pool->stop(*one, phase::cancelled));
        }
        (void)pool->wait(*one, deadline::never());
        CHECK(one->outcome().as == phase::cancelled);
    }
}

TEST_CASE("jobs on every worker launch kernels that nest, and all of it ends") {
    watchdog guard("nested launches on every worker");
    for (const std::uint32_t workers : {1u, 2u, 4u}) {
        pool_fixture pool(workers);
        std::atomic<std::int64_t> items{0};
        const auto part = [](const loomy_call* call, void* context) {
            static_cast<std::atomic<std::int64_t>*>(context)->fetch_add(call->end - call->begin);
            return 0;
        };
        const test_kernel kernel([&](const loomy_call& call) -> int {
            for (std::int64_t i = call.begin; i < call.end; ++i) {
                const int status = loomy_parallel_for(&call, 0, 50, 1, part, &items);
                if (status != 0) return status;
            }
            return 0;
        });
        auto work = [&] {
            native_env env;
            const handle one(new launch(*pool, kernel.over(20, 10)));
            if (launch_sharing(*pool, *one, env) != submitted::accepted) std::abort();
            (void)pool->wait(*one, deadline::never());
            if (one->outcome().code != LOOMY_OK) std::abort();
        };
        std::vector<job_handle<function_job<decltype(work)>>> jobs;
        for (std::uint32_t i = 0; i < 2 * workers; ++i) {
            jobs.push_back(make_job(work));
            REQUIRE(pool->submit(*jobs.back()) == submitted::accepted);
        }
        for (const auto& one : jobs) (void)pool->wait(*one, deadline::never());
        CHECK(items == 2 * workers * 20 * 50);
        guard.tick();
    }
}

TEST_CASE("eight threads launch at the same time, and every launch is whole") {
    watchdog guard("launches from eight threads");
    pool_fixture pool(2);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    const int rounds = 200 / slowness + 5;
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&, t] {
            for (int round = 0; round < rounds; ++round) {
                std::atomic<std::int64_t> sum{0};
                const test_kernel kernel([&](const loomy_call& call) -> int {
                    std::int64_t part = 0;
                    for (std::int64_t i = call.begin; i < call.end; ++i) part += i;
                    sum.fetch_add(part);
                    return LOOMY_OK;
                });
                const std::int64_t total = 100 + 37 * t + round;
                const handle one(new launch(*pool, kernel.over(total, round % 3 == 0 ? 16 : 0)));
                native_env env;
                const submitted answer =
                    round % 2 == 0 ? launch_sharing(*pool, *one, env) : launch_queued(*pool, *one);
                if (answer != submitted::accepted) std::abort();
                (void)pool->wait(*one, deadline::never());
                if (sum != total * (total - 1) / 2 || one->outcome().code != LOOMY_OK) ++wrong;
                guard.tick();
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(pool->stats().completed == static_cast<std::uint64_t>(8 * rounds));
}
