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
    CHECK(partition::fixed(100, 30).chunks() == 4);
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

TEST_CASE("the first error wins, stops the other chunks and says where it was") {
    for (const way how : {way::queued, way::shared}) {
        pool_fixture pool(2);
        std::atomic<int> ran{0};
        const test_kernel kernel([&](const loomy_call& call) -> int {
            ++ran;
            if (call.chunk == 5)
                return loomy_fail(&call, LOOMY_EVALUE, "item %d is bad", static_cast<int>(call.begin));
            pause_for(50);
            return LOOMY_OK;
        });
        const handle one = make(pool, kernel.over(100'000, 10'000));
        const launch_outcome end = run(pool, *one, how);
        CHECK(end.as == phase::done);
        CHECK(end.code == LOOMY_EVALUE);
        CHECK(end.message == "item 50 is bad");
        CHECK(end.where.begin == 50);
        CHECK(end.where.end == 60);
        CHECK(ran < 10'000);
        CHECK(pool->stats().failed == 1);
    }
}

TEST_CASE("of many errors at once one is kept whole") {
    pool_fixture pool(4);
    for (int round = 0; round < 200 / slowness; ++round) {
        std::atomic<int> arrived{0};
        const test_kernel kernel([&](const loomy_call& call) -> int {
            arrived.fetch_add(1);
            while (arrived < 2 && call.launch->num_workers > 1 && loomy_should_stop(&call) == 0)
                std::this_thread::yield();
            return loomy_fail(&call, -static_cast<int>(call.chunk) - 1, "chunk %d",
                              static_cast<int>(call.chunk));
        });
        const handle one = make(pool, kernel.over(4, 4));
        const launch_outcome end = run(pool, *one);
        CHECK(end.message == "chunk " + std::to_string(-end.code - 1));
        CHECK(end.where.begin == -end.code - 1);
    }
}

TEST_CASE("a C++ exception that leaves a kernel is an outcome of its own, and the pool goes on") {
    pool_fixture pool(2);
    const test_kernel known([](const loomy_call&) -> int { throw std::out_of_range("index 7"); });
    const test_kernel unknown([](const loomy_call&) -> int { throw 7; });
    const handle first = make(pool, known.over(10));
    launch_outcome end = run(pool, *first);
    CHECK(end.code == LOOMY_EPANIC);
    CHECK(end.message == "C++ exception of type std::out_of_range: index 7");
    const handle second = make(pool, unknown.over(10, 2));
    end = run(pool, *second, way::shared);
    CHECK(end.code == LOOMY_EPANIC);
    CHECK(end.message == "C++ exception of type int");
    const test_kernel fine([](const loomy_call&) -> int { return LOOMY_OK; });
    const handle third = make(pool, fine.over(10));
    CHECK(run(pool, *third).code == LOOMY_OK);
}

TEST_CASE("cancelling a token stops a kernel that polls, and one that does not after its running chunks") {
    for (const bool polls : {true, false}) {
        for (const launch::ends how : {launch::ends::when_asked, launch::ends::with_its_chunks}) {
            std::atomic<int> ran{0};
            gate inside;
            const test_kernel kernel([&](const loomy_call& call) -> int {
                if (ran.fetch_add(1) == 0) inside.pass();
                while (polls && loomy_should_stop(&call) == 0) std::this_thread::yield();
                return polls ? LOOMY_CANCELLED : LOOMY_OK;
            });
            pool_fixture pool(2); // last: what was abandoned still runs
            const ref<cancel_token> token = cancel_token::make();
            const handle one = make(pool, kernel.over(1'000'000, 1'000'000), how);
            REQUIRE(launch_queued(*pool, *one, token) == submitted::accepted);
            REQUIRE(inside.await(1));
            token->cancel();
            inside.open();
            (void)pool->wait(*one, deadline::never());
            CHECK(one->outcome().as == phase::cancelled);
            CHECK(ran < 1'000'000);
            CHECK(pool->stats().cancelled == 1);
        }
    }
}

TEST_CASE("a launch that ends with its chunks has its answer only then") {
    pool_fixture pool(1);
    gate inside;
    std::atomic<int> releases{0};
    const test_kernel kernel([&](const loomy_call&) -> int {
        inside.pass();
        return LOOMY_OK;
    });
    for (const auto how : {launch::ends::with_its_chunks, launch::ends::when_asked}) {
        gate again;
        const test_kernel one_gate([&](const loomy_call&) -> int {
            again.pass();
            return LOOMY_OK;
        });
        releases = 0;
        const handle one(new counted_launch(*pool, one_gate.over(10, 10), releases, how));
        REQUIRE(launch_queued(*pool, *one) == submitted::accepted);
        REQUIRE(again.await(1));
        CHECK(pool->abandon(*one, phase::cancelled));
        CHECK(one->finished() == (how == launch::ends::when_asked));
        CHECK(releases == 0); // the chunk is still inside
        again.open();
        CHECK(eventually([&] { return releases == 1; }));
        (void)pool->wait(*one, deadline::never());
        CHECK(one->outcome().as == phase::cancelled);
    }
    CHECK(eventually([&] { return pool->executing() == 0; }));
    CHECK(pool->stats().cancelled == 2);
}

TEST_CASE("a deadline ends a launch, queued or running") {
    pool_fixture pool(1);
    gate first;
    auto blocker = make_job([&] { first.pass(); });
    REQUIRE(pool->submit(*blocker) == submitted::accepted);
    REQUIRE(first.await(1));
    std::atomic<int> ran{0};
    const test_kernel kernel([&](const loomy_call& call) -> int {
        ++ran;
        while (loomy_should_stop(&call) == 0) std::this_thread::yield();
        return LOOMY_CANCELLED;
    });
    const handle queued = make(pool, kernel.over(10));
    REQUIRE(launch_queued(*pool, *queued, cancel_token::make(in_ms(20))) == submitted::accepted);
    (void)pool->wait(*queued, deadline::never());
    CHECK(queued->outcome().as == phase::timed_out);
    CHECK(ran == 0);
    first.open();
    const handle running = make(pool, kernel.over(10), launch::ends::with_its_chunks);
    REQUIRE(launch_queued(*pool, *running, cancel_token::make(in_ms(20 * slowness))) == submitted::accepted);
    (void)pool->wait(*running, deadline::never());
    CHECK(running->outcome().as == phase::timed_out);
    CHECK(pool->stats().timed_out == 2);
    CHECK(timer::stop(in_ms(10'000)));
}

TEST_CASE("prepare and finish are called once each, whatever happens between them") {
    struct log {
        std::atomic<int> prepared{0}, finished{0}, status{99};
        int fails = LOOMY_OK;
    };
    const auto prepare = [](const loomy_launch* of, void** state) {
        auto& self = *static_cast<log*>(of->user_data);
        self.prepared.fetch_add(1);
        *state = &self;
        return self.fails;
    };
    const auto finish = [](const loomy_launch*, void* state, int status) {
        auto& self = *static_cast<log*>(state);
        self.finished.fetch_add(1);
        self.status = status;
        return static_cast<int>(LOOMY_OK);
    };
    const auto run_part = [](const loomy_call* call) {
        return call->launch->n_chunks == 13 ? loomy_fail(call, LOOMY_EINDEX, "no")
                                            : static_cast<int>(LOOMY_OK);
    };
    pool_fixture pool(2);
    const auto launch_it = [&](log& into, std::int64_t total, std::int64_t chunks) {
        const loomy_kernel kernel{
            LOOMY_KERNEL_HEADER, "k", nullptr, nullptr, run_part, prepare, finish, &into, 0, 0};
        launch_request what;
        what.kernel = &kernel;
        what.total = total;
        what.chunks = chunks;
        const handle one = make(pool, what);
        return run(pool, *one, way::shared).code;
    };
    log good;
    CHECK(launch_it(good, 100, 0) == LOOMY_OK);
    CHECK(good.prepared == 1);
    CHECK(good.finished == 1);
    CHECK(good.status == LOOMY_OK);
    log empty;
    CHECK(launch_it(empty, 0, 4) == LOOMY_OK);
    CHECK(empty.prepared == 1);
    CHECK(empty.finished == 1);
    log failing;
    CHECK(launch_it(failing, 100, 13) == LOOMY_EINDEX);
    CHECK(failing.finished == 1);
    CHECK(failing.status == LOOMY_EINDEX);
    log unprepared;
    unprepared.fails = LOOMY_EMEMORY;
    CHECK(launch_it(unprepared, 100, 0) == LOOMY_EMEMORY);
    CHECK(unprepared.finished == 0);

    // Refused by a close: it was prepared.
    log refused;
    const loomy_kernel kernel{
        LOOMY_KERNEL_HEADER, "k", nullptr, nullptr, run_part, prepare, finish, &refused, 0, 0};
    launch_request what;
    what.kernel = &kernel;
    what.total = 10;
    {
        pool_fixture idle(0);
        const handle one = make(idle, what);
        REQUIRE(launch_queued(*idle, *one) == submitted::accepted);
        CHECK(idle->queue_length() == 1);
        idle->discard();
        CHECK(one->outcome().as == phase::refused);
        CHECK(refused.finished == 1);
        CHECK(refused.status == LOOMY_CANCELLED);
        CHECK(idle->stats().refused == 1);
        const handle late = make(idle, what);
        CHECK(launch_queued(*idle, *late) == submitted::closed);
    }
    CHECK(refused.finished == refused.prepared);
    CHECK(pool->stats().completed == 2);
    CHECK(pool->stats().failed == 2);
}

TEST_CASE("closing lets a running launch end, and refuses one that has not started") {
    pool_fixture pool(1);
    gate inside;
    std::atomic<int> ran{0};
    const test_kernel kernel([&](const loomy_call&) -> int {
        if (ran.fetch_add(1) == 0) inside.pass();
        return LOOMY_OK;
    });
    const handle running = make(pool, kernel.over(100, 100));
    const handle queued = make(pool, kernel.over(100, 100));
    REQUIRE(launch_queued(*pool, *running) == submitted::accepted);
    REQUIRE(inside.await(1));
    REQUIRE(launch_queued(*pool, *queued) == submitted::accepted);
    pool->discard();
    CHECK(queued->outcome().as == phase::refused);
    inside.open();
    (void)pool->wait(*running, deadline::never());
    CHECK(running->outcome().as == phase::done);
    CHECK(running->outcome().code == LOOMY_OK);
    CHECK(ran == 100);
}

TEST_CASE("stopping a pool stops its kernels") {
    const test_kernel kernel([](const loomy_call& call) -> int {
        while (loomy_should_stop(&call) == 0) std::this_thread::yield();
        return LOOMY_CANCELLED;
    });
    pool_fixture pool(2); // last: what was abandoned still runs
    const handle one = make(pool, kernel.over(100, 100));
    const handle held = make(pool, kernel.over(100, 100), launch::ends::with_its_chunks);
    for (launch* const which : {one.get(), held.get()}) {
        REQUIRE(launch_queued(*pool, *which) == submitted::accepted);
        REQUIRE(eventually([&] { return which->has_started(); }));
        pool->stop_running();
        (void)pool->wait(*which, deadline::never());
        CHECK(which->outcome().as == phase::cancelled);
    }
}

TEST_CASE("a launch that races a cancel, an abandonment and a close ends once, with its books right") {
    watchdog guard("launches against their ends");
    for (int round = 0; round < 1'000 / slowness; ++round) {
        std::atomic<int> releases{0};
        const test_kernel kernel([&](const loomy_call&) -> int {
            pause_for(20);
            return LOOMY_OK;
        });
        {
            pool_fixture pool(2); // checks that what was submitted is accounted for
            const ref<cancel_token> token = cancel_token::make();
            const auto ends = round % 2 == 0 ? launch::ends::when_asked : launch::ends::with_its_chunks;
            const handle one(new counted_launch(*pool, kernel.over(40, 40), releases, ends));
            std::thread ender([&] {
                pause_for(static_cast<unsigned>(round) % 40 * 25);
                switch (round % 3) {
                    case 0:
                        token->cancel();
                        break;
                    case 1:
                        pool->discard();
                        break;
                    default:
                        pool->stop_running();
                        pool->discard();
                }
            });
            const submitted answer = launch_queued(*pool, *one, token);
            if (answer == submitted::accepted) {
                (void)pool->wait(*one, deadline::never());
                CHECK(one->finished());
            } else {
                CHECK(answer == submitted::closed);
                ++releases;
            }
            ender.join();
        }
        CHECK(releases == 1);
        guard.tick();
    }
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

TEST_CASE("a launch that is known to be short is run by its caller alone, and wakes nobody") {
    pool_fixture pool(2);
    const test_kernel kernel([](const loomy_call&) -> int { return LOOMY_OK; });
    cost_estimate cost;
    cost.note(1'000, 1'000);
    launch_request what = kernel.over(1'000);
    what.cost = &cost;
    for (int round = 0; round < 20; ++round) {
        const handle one = make(pool, what);
        CHECK(run(pool, *one, way::shared).code == LOOMY_OK);
    }
    CHECK(pool->stats().wakes == 0);
    CHECK(pool->stats().completed == 20);
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
    CHECK(known.next(80'000) == 10'000);
    CHECK(known.next(1'000) >= 1'000); // less than what is worth splitting
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
