#include "loomy/exec/launch.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "launch_fixture.hpp"

using namespace loomy;
using namespace loomy::testing;

namespace {

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
                    const test_kernel kernel([&](const loomy_call& call) -> int {
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

TEST_CASE(
    "a fixed partition has dense chunks of nearly equal size, which depend on nothing but the numbers") {
    for (const std::int64_t total : {1, 5, 100, 1'001}) {
        for (const std::int64_t chunks : {1, 2, 7, 100, 2'000}) {
            const partition split(total, chunks, 0);
            const std::int64_t made = std::min(total, chunks);
            REQUIRE(split.chunks() == made);
            std::int64_t end = 0;
            for (std::int64_t i = 0; i < made; ++i) {
                const index_range one = split.chunk(i);
                CHECK(one.begin == end);
                CHECK(one.end - one.begin >= total / made);
                CHECK(one.end - one.begin <= total / made + 1);
                end = one.end;
            }
            CHECK(end == total);
        }
    }
    CHECK(partition::fixed(10'000'000, 0).chunks() == partition::usual_chunks);
    CHECK(partition::fixed(100, 30).chunks() == 3); // no chunk is shorter
    CHECK(partition::fixed(29, 30).chunks() == 1);
    CHECK(partition::fixed(0, 30).chunks() == 0);
}

TEST_CASE("a reduction over a fixed partition has the same bits for 1, 2 and 7 workers") {
    constexpr std::int64_t total = 100'000;
    std::vector<double> values(total);
    for (std::int64_t i = 0; i < total; ++i)
        values[static_cast<std::size_t>(i)] = 1.0 / static_cast<double>(3 * i + 1);
    std::vector<std::vector<std::uint64_t>> seen;
    for (const std::uint32_t workers : {1u, 2u, 7u}) {
        for (const way how : {way::queued, way::shared}) {
            pool_fixture pool(workers);
            std::vector<double> partial(16);
            const test_kernel kernel([&](const loomy_call& call) -> int {
                double sum = 0;
                for (std::int64_t i = call.begin; i < call.end; ++i)
                    sum += values[static_cast<std::size_t>(i)];
                partial[static_cast<std::size_t>(call.chunk)] = sum;
                return LOOMY_OK;
            });
            const handle one = make(pool, kernel.over(total, 16));
            CHECK(run(pool, *one, how).code == LOOMY_OK);
            seen.push_back(bits(partial));
        }
    }
    for (const auto& one : seen) CHECK(one == seen.front());
}

TEST_CASE("chunks of a dynamic partition have at least `grain` items, but for the last") {
    pool_fixture pool(3);
    std::atomic<int> small{0};
    const test_kernel kernel([&](const loomy_call& call) -> int {
        if (call.chunk != -1) small += 100;
        if (call.end - call.begin < 64) ++small;
        return LOOMY_OK;
    });
    const handle one = make(pool, kernel.over(10'001, 0, 64));
    CHECK(run(pool, *one).code == LOOMY_OK);
    CHECK(small <= 1);
}

TEST_CASE("a loop known to be long enough for two is run from both halves, in multiples of the grain") {
    constexpr std::int64_t total = 10'001, grain = 64;
    for (const way how : {way::queued, way::shared}) {
        pool_fixture pool(2);
        std::vector<std::atomic<int>> hits(total);
        std::atomic<std::int64_t> first[2]{-1, -1}; // where each participant began
        std::atomic<int> odd{0};
        std::atomic<std::uint32_t> inside{0};
        const test_kernel kernel([&](const loomy_call& call) -> int {
            std::int64_t none = -1;
            if (first[call.worker].compare_exchange_strong(none, call.begin)) ++inside;
            // Until the other has a chunk too: nobody comes late and finds all done.
            while (inside < 2 && loomy_should_stop(&call) == 0) std::this_thread::yield();
            for (std::int64_t i = call.begin; i < call.end; ++i)
                hits[static_cast<std::size_t>(i)].fetch_add(1, std::memory_order_relaxed);
            if (call.begin % grain != 0 || (call.end - call.begin) % grain != 0) ++odd;
            return LOOMY_OK;
        });
        cost_estimate cost;
        cost.note(1'000'000'000, total);
        launch_request what = kernel.over(total, 0, grain);
        what.cost = &cost;
        const handle one = make(pool, what);
        CHECK(run(pool, *one, how).code == LOOMY_OK);
        CHECK(std::all_of(hits.begin(), hits.end(), [](const auto& hit) { return hit == 1; }));
        CHECK(odd == 1); // the last items, which are not so many
        CAPTURE(static_cast<int>(how));
        CAPTURE(first[0].load());
        CAPTURE(first[1].load());
        CHECK(std::min(first[0], first[1]) == 0);
        CHECK(std::max(first[0], first[1]) == total / grain / 2 * grain);
    }
}

TEST_CASE(
    "who joins a launch claims by what earlier ones cost, not by cheap items that others have just run") {
    for (int round = 0; round < 20; ++round) {
        pool_fixture pool(2);
        std::atomic<std::int64_t> first_claim{0}; // of who joins
        std::atomic<int> by_first{0};
        const test_kernel kernel([&](const loomy_call& call) -> int {
            std::int64_t none = 0;
            if (call.worker == 1) (void)first_claim.compare_exchange_strong(none, call.end - call.begin);
            // Its first items are cheap, and then it waits for the other.
            if (call.worker == 0 && ++by_first > 3) {
                while (first_claim == 0 && loomy_should_stop(&call) == 0) std::this_thread::yield();
            }
            return LOOMY_OK;
        });
        cost_estimate cost;
        cost.note(100'000'000, 1'000); // 0.1 ms an item
        launch_request what = kernel.over(1'000);
        what.cost = &cost;
        const handle one = make(pool, what);
        CHECK(run(pool, *one, way::shared).code == LOOMY_OK);
        CHECK(first_claim == 1);
    }
}

TEST_CASE("no two chunks that run at once have the same worker, and a serial kernel has one at a time") {
    for (const std::uint64_t flags : {std::uint64_t{0}, std::uint64_t{LOOMY_K_SERIAL}}) {
        pool_fixture pool(4);
        std::vector<std::atomic<int>> inside(16);
        std::atomic<int> most{0}, clashes{0}, now{0};
        const test_kernel kernel(
            [&](const loomy_call& call) -> int {
                if (inside[call.worker].fetch_add(1) != 0) ++clashes;
                const int all = now.fetch_add(1) + 1;
                for (int seen = most; seen < all && !most.compare_exchange_weak(seen, all);) {
                }
                pause_for(200);
                now.fetch_sub(1);
                inside[call.worker].fetch_sub(1);
                return LOOMY_OK;
            },
            flags);
        const handle one = make(pool, kernel.over(3'000, 300));
        CHECK(run(pool, *one, way::shared).code == LOOMY_OK);
        CHECK(clashes == 0);
        if (flags != 0) CHECK(most == 1);
    }
}

TEST_CASE("more threads than a launch has workers may come, and only so many take part") {
    pool_fixture pool(4);
    gate inside;
    std::atomic<int> now{0}, most{0};
    const test_kernel serial(
        [&](const loomy_call& call) -> int {
            if (call.worker != 0) most = 1'000;
            most = std::max(most.load(), now.fetch_add(1) + 1);
            if (call.begin == 0) inside.pass();
            now.fetch_sub(1);
            return LOOMY_OK;
        },
        LOOMY_K_SERIAL);
    const handle one = make(pool, serial.over(100, 100));
    REQUIRE(launch_queued(*pool, *one) == submitted::accepted);
    REQUIRE(inside.await(1));
    native_env env;
    for (int i = 0; i < 3; ++i) { // each finds items, and no place
        slot* const mine = pool->try_borrow_to_share();
        REQUIRE(mine != nullptr);
        {
            frame here(*pool, *mine, env, false);
            pool->take_part(*one, here);
        }
        pool->give_back(*mine);
    }
    CHECK_FALSE(one->has_room());
    inside.open();
    (void)pool->wait(*one, deadline::never());
    CHECK(one->outcome().code == LOOMY_OK);
    CHECK(most == 1);
}

TEST_CASE("scratch memory is aligned, belongs to one chunk at a time and is used again") {
    pool_fixture pool(3);
    std::atomic<int> bad{0};
    std::atomic<std::uintptr_t> seen{0};
    const test_kernel kernel([&](const loomy_call& call) -> int {
        for (const std::size_t align : {std::size_t{0}, std::size_t{1}, std::size_t{64}, std::size_t{4096}}) {
            const std::size_t bytes = 1'000 + static_cast<std::size_t>(call.begin % 7) * 100'000;
            auto* const mine = static_cast<unsigned char*>(loomy_scratch(&call, bytes, align));
            if (mine == nullptr ||
                reinterpret_cast<std::uintptr_t>(mine) % std::max<std::size_t>(align, 16) != 0) {
                if (mine == nullptr || align == 64 || align == 4096) ++bad;
                if (mine == nullptr) continue;
            }
            const auto mark = static_cast<unsigned char>(call.worker * 16 + align % 13);
            std::memset(mine, mark, bytes);
            pause_for(20);
            if (!std::all_of(mine, mine + bytes, [&](unsigned char c) { return c == mark; })) ++bad;
        }
        if (loomy_scratch(&call, 10, 3) != nullptr) ++bad; // not a power of two
        if (loomy_scratch(&call, SIZE_MAX / 2, 0) != nullptr) ++bad;
        constexpr std::size_t half = SIZE_MAX / 2 + 1; // twice that is 0
        if (loomy_scratch(&call, half, half) != nullptr) ++bad;
        if (loomy_scratch(&call, 1, half) != nullptr) ++bad;
        return LOOMY_OK;
    });
    const handle one = make(pool, kernel.over(200, 200));
    CHECK(run(pool, *one).code == LOOMY_OK);
    CHECK(bad == 0);

    scratch_arena arena;
    const scratch_arena::mark start = arena.here();
    void* const before = arena.take(100, 64);
    arena.release_to(start);
    CHECK(arena.take(100, 64) == before);
}

TEST_CASE("a launch that is known to be short is run by its caller alone, and wakes nobody") {
    pool_fixture pool(2);
    const test_kernel kernel([](const loomy_call&) -> int { return LOOMY_OK; });
    launch_request what = kernel.over(1'000);
    for (int round = 0; round < 20; ++round) {
        cost_estimate
            cost; // of its own: a launch that lost its CPU for a while would make the next look long
        cost.note(1'000, 1'000);
        what.cost = &cost;
        const handle one = make(pool, what);
        CHECK(run(pool, *one, way::shared).code == LOOMY_OK);
    }
    CHECK(pool->stats().wakes == 0);
    CHECK(pool->stats().completed == 20);
}

TEST_CASE("a launch asks for as many workers as have a place in it, and a worker is woken for no more") {
    pool_fixture pool(2);
    {
        gate both;
        auto first = make_job([&] { both.pass(); });
        auto second = make_job([&] { both.pass(); });
        REQUIRE(pool->submit(*first) == submitted::accepted);
        REQUIRE(pool->submit(*second) == submitted::accepted);
        REQUIRE(both.await(2)); // both have their threads
        both.open();
        (void)pool->wait(*first, deadline::never());
        (void)pool->wait(*second, deadline::never());
    }
    REQUIRE(pool.settles());
    const std::uint64_t wakes = pool->stats().wakes;
    gate by_caller, by_worker;
    const std::thread::id caller = std::this_thread::get_id();
    std::thread opener([&] {
        if (by_worker.await(1)) by_caller.open();
    });
    const test_kernel kernel([&](const loomy_call&) -> int {
        (std::this_thread::get_id() == caller ? by_caller : by_worker).pass();
        return LOOMY_OK;
    });
    const handle one = make(pool, kernel.over(100, 100));
    native_env env;
    // The caller ends with all but one chunk, in which the one worker is; then it gives its slot back.
    REQUIRE(launch_sharing(*pool, *one, env, {}) == submitted::accepted);
    opener.join();
    CHECK(pool->stats().wakes <= wakes + 1); // none, if it was still on its way to sleep
    CHECK_FALSE(one->finished());
    by_worker.open();
    (void)pool->wait(*one, deadline::never());
    CHECK(one->outcome().code == LOOMY_OK);
}

TEST_CASE("a bounded pool counts a launch as one job, and lets a caller run what has no place") {
    pool_options options;
    options.max_pending = 0;
    pool_fixture pool(1, options);
    gate inside;
    auto blocker = make_job([&] { inside.pass(); });
    REQUIRE(pool->submit(*blocker) == submitted::accepted);
    REQUIRE(inside.await(1));
    const test_kernel kernel([](const loomy_call&) -> int { return LOOMY_OK; });
    const handle refused = make(pool, kernel.over(100, 10));
    CHECK(launch_queued(*pool, *refused) == submitted::full);
    inside.open();
    (void)pool->wait(*blocker, deadline::never());
    for (int round = 0; round < 50; ++round) {
        const handle one = make(pool, kernel.over(100, 10));
        REQUIRE(launch_queued(*pool, *one) == submitted::accepted); // the place came back before the answer
        (void)pool->wait(*one, deadline::never());
    }
}

TEST_CASE("what claims at a time grows for short items, shrinks towards the end, and starts with one") {
    pace unknown(1, 4, 0);
    CHECK(unknown.next(1'000'000) == 1);
    unknown.took(10, 1);
    CHECK(unknown.next(1'000'000) == 16);
    unknown.took(pace::target_ns, 16);
    CHECK(unknown.next(1'000'000) <= 17);
    pace known(1, 4, 1'000); // 1 ns an item
    CHECK(known.next(1'000'000'000) >= pace::target_ns);
    CHECK(known.next(80'000) == 5'000);
    CHECK(known.next(1'000) >= 1'000); // less than what is worth splitting
    known.took(1'000, 10'000'000);     // a few that were cheap: the next may be dear
    CHECK(known.next(1'000) == pace::least_ns + 1);
    known.took(1'000'000, 1'000); // dear ones count at once
    CHECK(known.next(100) == 6);
    pace cheaper(1, 4, 1'000'000'000); // a millisecond each in earlier launches, and now next to nothing
    CHECK(cheaper.next(1'000'000) == 1);
    for (std::uint64_t units = 1; units < 1'000; units *= 2) {
        cheaper.took(100, units);
        CHECK(cheaper.next(1'000'000) == 2 * units);
    }
    CHECK(cheaper.next(160) == 10); // of what is left no large part
    cheaper.took(pace::quick_ns, 1'024);
    CHECK(cheaper.next(1'000'000) == 1); // that was no longer nothing
    pace coarse(5'000, 4, 1'000'000);
    CHECK(coarse.next(10) == 5'000);
    CHECK(cost_estimate::ps_per_unit(INT64_MAX, 1) >= cost_estimate::ps_per_unit(1, INT64_MAX));
    CHECK(cost_estimate::ps_per_unit(0, 5) == 1);
}

TEST_CASE("what is no kernel is told apart") {
    loomy_kernel kernel{
        LOOMY_KERNEL_HEADER, "k", nullptr, nullptr, &call_body, nullptr, nullptr, nullptr, 0, 0};
    CHECK(kernel_fault(&kernel) == nullptr);
    CHECK(kernel_fault(nullptr) != nullptr);
    kernel.abi = 2u << 16;
    CHECK(kernel_fault(&kernel) != nullptr);
    kernel.abi = LOOMY_ABI;
    kernel.struct_size = 16;
    CHECK(kernel_fault(&kernel) != nullptr);
    kernel.struct_size = sizeof kernel + 8; // of a later minor version
    CHECK(kernel_fault(&kernel) == nullptr);
    kernel.run = nullptr;
    CHECK(kernel_fault(&kernel) != nullptr);
}
