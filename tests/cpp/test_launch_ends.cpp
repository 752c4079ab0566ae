#include "loomy/exec/launch.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

#include "launch_fixture.hpp"
#include "loomy/kernel/interpreter.hpp"

using namespace loomy;
using namespace loomy::testing;

TEST_CASE("the first error wins, stops the other chunks and says where it was") {
    for (const way how : {way::queued, way::shared}) {
        pool_fixture pool(2);
        std::atomic<int> ran{0};
        const test_kernel kernel([&](const loomy_call& call) -> int {
            ++ran;
            if (call.chunk == 5)
                return loomy_fail(&call, LOOMY_EVALUE, "item %d is bad", static_cast<int>(call.begin));
            // The one with the bad item may lose its CPU meanwhile; nobody else does all the rest.
            while (call.chunk > 64 && loomy_should_stop(&call) == 0) std::this_thread::yield();
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
    CHECK(running->claim_refused().empty());
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
        std::atomic<int> releases{0}, ran{0};
        const test_kernel kernel([&](const loomy_call&) -> int {
            ran.fetch_add(1);
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
                const phase as = one->outcome().as;
                if (as == phase::done) CHECK(ran == 40);
                if (as == phase::refused) CHECK(ran == 0);
                if (round % 3 == 1) CHECK(as != phase::cancelled); // a close refuses all of it or nothing
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

TEST_CASE("a launch whose last chunk has ended cannot be abandoned any more") {
    struct hook {
        pool_fixture& pool;
        launch* mine = nullptr;
        bool abandoned = true;
    };
    pool_fixture pool(1);
    hook inside{pool};
    const auto finish = [](const loomy_launch* of, void*, int) {
        auto& self = *static_cast<hook*>(of->user_data);
        self.abandoned = self.pool->abandon(*self.mine, phase::cancelled);
        return static_cast<int>(LOOMY_OK);
    };
    const auto part = [](const loomy_call*) { return static_cast<int>(LOOMY_OK); };
    const loomy_kernel kernel{
        LOOMY_KERNEL_HEADER, "k", nullptr, nullptr, part, nullptr, finish, &inside, 0, 0};
    launch_request what;
    what.kernel = &kernel;
    what.total = 10;
    const handle one = make(pool, what);
    inside.mine = one.get();
    const launch_outcome end = run(pool, *one);
    CHECK_FALSE(inside.abandoned);
    CHECK(end.as == phase::done);
    CHECK(pool->stats().completed == 1);
    CHECK(pool->stats().cancelled == 0);
}

TEST_CASE("a launch that is refused and abandoned at the same time is counted once") {
    watchdog guard("launches refused and abandoned");
    const test_kernel kernel([](const loomy_call&) -> int { return LOOMY_OK; });
    for (int round = 0; round < 3'000 / slowness; ++round) {
        pool_fixture pool(0);
        const handle one = make(pool, kernel.over(10));
        REQUIRE(launch_queued(*pool, *one) == submitted::accepted);
        std::atomic<int> ready{0};
        std::thread canceller([&] {
            ready.fetch_add(1);
            while (ready < 2) cpu_pause();
            pause_for(static_cast<unsigned>(round) % 16);
            (void)pool->abandon(*one, phase::cancelled);
        });
        ready.fetch_add(1);
        while (ready < 2) cpu_pause();
        pause_for(static_cast<unsigned>(round) / 16 % 16);
        pool->discard();
        canceller.join();
        CHECK(one->finished());
        const pool_stats stats = pool->stats();
        CHECK(stats.refused + stats.cancelled == 1);
        guard.tick();
    }
}

#if __has_include(<sys/mman.h>)
// Its estimate lies in memory that cannot be touched once it was released, as that of a kernel that is gone.
struct launch_with_estimate final : launch {
    static constexpr std::size_t page = 65'536;

    struct owned_page {
        void* const at = ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ~owned_page() { ::munmap(at, page); }
    };

    static launch_request with(launch_request what, const owned_page& in) {
        what.cost = new (in.at) cost_estimate;
        what.cost->note(1'000'000'000, 1); // a second an item
        return what;
    }
    launch_with_estimate(pool& home, const launch_request& what, const owned_page& in_)
        : launch(home, with(what, in_), ends::when_asked), in(in_) {}
    void released() override { REQUIRE(::mprotect(in.at, page, PROT_NONE) == 0); }

    const owned_page& in;
};

TEST_CASE("a worker that joins a launch which was cancelled meanwhile touches nothing of its kernel") {
    pool_fixture pool(1);
    const launch_with_estimate::owned_page memory;
    REQUIRE(memory.at != MAP_FAILED);
    const test_kernel kernel([](const loomy_call&) { return static_cast<int>(LOOMY_ERROR); });
    for (const std::int64_t chunks : {0, 10}) {
        REQUIRE(::mprotect(memory.at, launch_with_estimate::page, PROT_READ | PROT_WRITE) == 0);
        const handle one(new launch_with_estimate(*pool, kernel.over(1000, chunks), memory));
        slot* const place = pool->try_borrow_to_share(); // so that nobody else comes for it
        REQUIRE(place != nullptr);
        REQUIRE(launch_queued(*pool, *one) == submitted::accepted);
        native_env env;
        {
            // What a worker does that took it from the queue and saw that there was something to do.
            frame here(*pool, *place, env, false);
            CHECK(one->has_room());
            CHECK(pool->abandon(*one, phase::cancelled));
            CHECK_FALSE(one->wants_more(1));
            CHECK(one->joins(here));
            pool->take_part(*one, here);
        }
        pool->give_back(*place);
        CHECK(one->outcome().as == phase::cancelled);
    }
}
#endif

namespace {

// An interpreter whose errors are numbers.
thread_local const void* error_here = nullptr;
std::atomic<int> errors_dropped{0};
const int first_error = 1, second_error = 2;

struct fake_interpreter {
    fake_interpreter() {
        interpreter.error_place = [] { return static_cast<const void*>(&error_here); };
        interpreter.take_error = [] { return const_cast<void*>(std::exchange(error_here, nullptr)); };
        interpreter.drop_error = [](void*) { errors_dropped.fetch_add(1); };
        errors_dropped = 0;
    }
    ~fake_interpreter() { interpreter = {}; }
};

} // namespace

TEST_CASE("an error of the interpreter that a chunk leaves is the launch's, unless it says something else") {
    const fake_interpreter scope;
    for (const int status : {static_cast<int>(LOOMY_OK), static_cast<int>(LOOMY_CANCELLED),
                             static_cast<int>(LOOMY_EPYTHON), static_cast<int>(LOOMY_EVALUE)}) {
        pool_fixture pool(1);
        errors_dropped = 0;
        const test_kernel kernel([&](const loomy_call& call) -> int {
            if (error_here != nullptr) return LOOMY_EPANIC; // of the chunk before
            if (call.chunk != 2) return LOOMY_OK;
            error_here = &first_error;
            return status;
        });
        const handle one = make(pool, kernel.over(10, 10));
        const launch_outcome end = run(pool, *one);
        const bool is_its_own = status == LOOMY_EVALUE;
        CHECK(end.code == (is_its_own ? LOOMY_EVALUE : LOOMY_EPYTHON));
        CHECK(end.where.begin == 2);
        CHECK(one->take_foreign_error() == (is_its_own ? nullptr : &first_error));
        CHECK(errors_dropped == (is_its_own ? 1 : 0));
    }
}

TEST_CASE("an error that a caller had before it takes part is no chunk's") {
    const fake_interpreter scope;
    error_here = &first_error;
    {
        pool_fixture pool(1);
        test_kernel fine([](const loomy_call&) -> int { return LOOMY_OK; }, LOOMY_K_SERIAL);
        const handle one = make(pool, fine.over(10, 10));
        CHECK(run(pool, *one, way::shared).code == LOOMY_OK);
        CHECK(error_here == &first_error);

        const std::thread::id caller = std::this_thread::get_id();
        const test_kernel raises([&](const loomy_call&) -> int {
            if (std::this_thread::get_id() == caller) error_here = &second_error;
            return std::this_thread::get_id() == caller ? LOOMY_OK : LOOMY_EPYTHON;
        });
        const handle other = make(pool, raises.over(1, 1));
        CHECK(run(pool, *other, way::shared).code == LOOMY_EPYTHON);
        CHECK(error_here != &second_error); // taken, if it was this thread that ran it
    }
    error_here = nullptr;
}
