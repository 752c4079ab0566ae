#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "loomy/exec/function_job.hpp"
#include "loomy/exec/native_threads.hpp"
#include "loomy/exec/pool.hpp"

namespace {

using namespace loomy;

struct test_pool {
    explicit test_pool(std::uint32_t size, pool_options options = {})
        : core(ref<pool>::adopt(new pool(options, threads))) {
        REQUIRE(core->resize(size));
    }
    ~test_pool() {
        core->drain();
        REQUIRE(core->wait_for_size(0, deadline::never()) == wait_status::woken);
        const pool_stats at_rest = core->stats();
        CHECK(at_rest.queued == 0);
        CHECK(at_rest.running == 0);
        CHECK(at_rest.submitted == at_rest.completed + at_rest.failed + at_rest.cancelled + at_rest.timed_out);
    }
    native_threads threads;
    ref<pool> core;
};

template <class Handle>
void submit(test_pool& where, Handle& one) {
    REQUIRE(where.core->submit(*one) == submitted::accepted);
}

} // namespace

TEST_CASE("a job runs and its result can be waited for") {
    test_pool pool(2);
    auto job = make_job([] { return 42; });
    submit(pool, job);
    CHECK(pool.core->wait(*job, deadline::never()) == wait_status::woken);
    CHECK(job->result() == 42);
}

TEST_CASE("an exception is the job's error and the worker goes on") {
    test_pool pool(1);
    auto bad = make_job([]() -> int { throw std::runtime_error("no"); });
    auto good = make_job([] { return 1; });
    submit(pool, bad);
    submit(pool, good);
    (void)pool.core->wait(*good, deadline::never());
    CHECK(bad->error() != nullptr);
    CHECK(good->result() == 1);
    CHECK(pool.core->stats().failed == 1);
}

TEST_CASE("every job runs exactly once, whoever submits") {
    for (const int producers : {1, 2, 4}) {
        for (const std::uint32_t workers : {1u, 2u, 4u, 8u}) {
            test_pool pool(workers);
            constexpr int each = 2'000;
            std::vector<std::atomic<int>> counts(static_cast<std::size_t>(producers * each));
            std::vector<std::thread> threads;
            for (int p = 0; p < producers; ++p) {
                threads.emplace_back([&, p] {
                    for (int i = 0; i < each; ++i) {
                        auto one = make_job([&, p, i] { counts[static_cast<std::size_t>(p * each + i)].fetch_add(1); });
                        while (pool.core->submit(*one) != submitted::accepted) {
                        }
                        if (i % 3 == 0) (void)pool.core->wait(*one, deadline::never());
                    }
                });
            }
            for (auto& one : threads) one.join();
            pool.core->drain();
            (void)pool.core->wait_for_size(0, deadline::never());
            for (auto& count : counts) REQUIRE(count.load() == 1);
        }
    }
}

TEST_CASE("a job abandoned in the queue never runs") {
    test_pool pool(0);
    std::atomic<int> ran{0};
    auto job = make_job([&] { ++ran; });
    submit(pool, job);
    CHECK(pool.core->abandon(*job, phase::cancelled));
    CHECK_FALSE(pool.core->abandon(*job, phase::timed_out));
    CHECK(job->state() == phase::cancelled);
    REQUIRE(pool.core->resize(1));
    auto after = make_job([] {});
    submit(pool, after);
    (void)pool.core->wait(*after, deadline::never());
    CHECK(ran == 0);
    CHECK(pool.core->stats().cancelled == 1);
}

TEST_CASE("a job that waits for jobs of its own pool helps, one worker and a hundred deep") {
    test_pool pool(1);
    struct nest {
        test_pool& where;
        int operator()(int depth) const {
            if (depth == 0) return 0;
            auto inner = make_job([this, depth] { return (*this)(depth - 1) + 1; });
            if (where.core->submit(*inner) != submitted::accepted) return -1000;
            (void)where.core->wait(*inner, deadline::never());
            return inner->result();
        }
    };
    const nest recursive{pool};
    auto job = make_job([&] { return recursive(100); });
    submit(pool, job);
    (void)pool.core->wait(*job, deadline::never());
    CHECK(job->result() == 100);
}
