// No submission may be overlooked, however the submitter and a worker that goes to sleep interleave, and
// nobody may be woken for nothing. cpp/README.md has the protocol and its races one by one; the tests are
// named after them.

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <fstream>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "pool_disturbance.hpp"
#include "pool_fixture.hpp"
#include "pool_race.hpp"
#include "wake_rounds.hpp"

using namespace loomy;
using namespace loomy::testing;

TEST_CASE("no submission is overlooked: 1 to 32 workers, several submitters") {
    watchdog guard("the notify matrix", wake_up_patience);
    for (std::uint32_t workers = 1; workers <= 32; workers += workers < 8 ? 1 : 6) {
        for (const int submitters : {1, 2, 4}) {
            for (const std::int64_t spin : {0, -1}) {
                std::atomic<int> total{0};
                pool_fixture pool(workers, spinning(spin));
                std::vector<std::thread> threads;
                const int bursts = 100 / slowness;
                for (int s = 0; s < submitters; ++s) {
                    threads.emplace_back([&, s] {
                        std::mt19937 random(static_cast<unsigned>(s) + workers);
                        std::atomic<int> mine{0};
                        int submitted = 0;
                        for (int burst = 0; burst < bursts; ++burst) {
                            for (auto n = random() % 5 + 1; n > 0; --n, ++submitted) {
                                throw_in(*pool, [&] {
                                    total.fetch_add(1);
                                    mine.fetch_add(1);
                                });
                            }
                            // Nothing else is submitted that could make up for a wake-up that was lost.
                            spin_until([&] { return mine.load() == submitted; });
                            random_gap(random);
                            guard.tick();
                        }
                    });
                }
                for (auto& one : threads) one.join();
                CHECK(total > 0);
            }
        }
    }
}

TEST_CASE("no wake-up is lost in a million random gaps") {
    // A million with LOOMY_LONG=1, otherwise as many as somebody waits for.
    watchdog guard("submissions in random gaps", wake_up_patience);
    constexpr std::uint32_t sizes[] = {1, 2, 3, 4, 8, 16, 32};
    constexpr std::int64_t spins[] = {0, -1};
    const int wanted = take_long() ? 1'000'000 : 35'000 / slowness;
    const int rounds = wanted / static_cast<int>(std::size(sizes) * std::size(spins)) + 1;
    int done = 0;
    for (const std::uint32_t workers : sizes) {
        for (const std::int64_t spin_ns : spins) {
            std::atomic<int> ran{0};
            pool_fixture pool(workers, spinning(spin_ns));
            std::mt19937 random(workers);
            int submissions = 0;
            for (int round = 0; round < rounds; ++round, ++done) {
                // Mostly one, since the next submission would make up for a wake-up that was lost.
                std::uint32_t several = random() % 8 == 0 ? random() % workers : 0;
                submissions += static_cast<int>(several) + 1;
                for (; several > 0; --several) throw_in(*pool, [&] { ran.fetch_add(1); });
                auto last = make_job([&] { ran.fetch_add(1); });
                if (pool->submit(*last) != submitted::accepted) std::abort();
                if (round % 2 == 0) {
                    (void)pool->wait(*last, deadline::never());
                }
                spin_until([&] { return ran.load() == submissions; });
                random_gap(random);
                guard.tick();
            }
            CHECK(ran == submissions);
            if (spin_ns == 0) CHECK(pool->stats().parks > rounds / 20); // it was sleepers that were woken
        }
    }
    CHECK(done >= wanted);
}

#if defined(__linux__)
TEST_CASE("no wake-up is lost when threads are held up at any instruction") {
    watchdog guard("submissions by and to threads that are held up", wake_up_patience);
    struct setting {
        std::uint32_t workers;
        bool borrow;
    };
    for (const auto& [workers, borrow] : {setting{1, false}, setting{2, false}, setting{1, true}}) {
        disturbance everywhere;
        script what;
        what.ready = [&](slot&) {
            everywhere.include_this_thread();
            return true;
        };
        everywhere.include_this_thread();
        std::atomic<int> ran{0};
        std::atomic<bool> over{false};
        pool_fixture pool(workers, spinning(0), what);
        std::thread borrower([&, borrow = borrow] {
            everywhere.include_this_thread();
            while (borrow && !over) {
                if (slot* const mine = pool->try_borrow()) pool->give_back(*mine);
                pause_for(50);
            }
        });
        std::mt19937 random(workers);
        int submitted = 0;
        for (const deadline box = in_ms(take_long() ? 300'000 : 1'000); !box.passed();) {
            throw_in(*pool, [&] { ran.fetch_add(1); });
            ++submitted;
            spin_until([&] { return ran.load() == submitted; });
            pause_for(static_cast<unsigned>(random() % 30));
            guard.tick();
        }
        over = true;
        borrower.join();
    }
}
#endif

TEST_CASE("a submission while the last worker goes to sleep is seen by one of the two") {
    // Two submitters at the moment at which one worker after the other gives up its search.
    watchdog guard("submissions against workers that go to sleep", wake_up_patience);
    for (const std::uint32_t workers : {1u, 2u}) {
        std::atomic<int> ran{0};
        pool_fixture pool(workers, spinning(0));
        int expected = 0;
        race(
            rounds_of(10'000), [&] { expected += 2; },
            {[&] { throw_in(*pool, [&] { ran.fetch_add(1); }); },
             [&] { throw_in(*pool, [&] { ran.fetch_add(1); }); }},
            [&] {
                spin_until([&] { return ran.load() == expected; });
                guard.tick();
            });
    }
}

TEST_CASE("a job that became queued while a caller had the only slot is seen when the slot is given back") {
    watchdog guard("submissions against borrowed slots", wake_up_patience);
    for (const bool whatever_is_queued : {false, true}) {
        std::atomic<int> ran{0};
        pool_fixture pool(1, spinning(0));
        int expected = 0, borrowed = 0;
        race(
            rounds_of(20'000), [&] { ++expected; },
            {[&] { throw_in(*pool, [&] { ran.fetch_add(1); }); },
             [&] {
                 slot* const mine = whatever_is_queued ? pool->try_borrow_to_share() : pool->try_borrow();
                 if (mine == nullptr) return;
                 ++borrowed;
                 pool->give_back(*mine);
             }},
            [&] {
                spin_until([&] { return ran.load() == expected; });
                guard.tick();
            });
        CHECK(borrowed > 0);
    }
}

TEST_CASE("a thread that waits inside a job is told of what only it can run") {
    // One worker, which waits in a job for a job of another pool, which waits for a job of the first.
    watchdog guard("submissions against a waiting job", wake_up_patience);
    pool_fixture home(1, spinning(0));
    pool_fixture other(1, spinning(0));
    std::mt19937 random(3);
    for (int round = 0; round < rounds_of(10'000); ++round) {
        std::atomic<bool> waiting{false}, ran{false};
        auto outer = make_job([&] {
            auto slow = make_job([&] {
                waiting = true;
                spin_until([&] { return ran.load(); });
            });
            if (other->submit(*slow) != submitted::accepted) std::abort();
            if (round % 2 == 0)
                waiting = true; // about to list itself; otherwise it has probably gone to sleep
            (void)other->wait(*slow, deadline::never());
        });
        REQUIRE(home->submit(*outer) == submitted::accepted);
        spin_until([&] { return waiting.load(); });
        random_gap(random);
        throw_in(*home, [&] { ran = true; });
        (void)home->wait(*outer, deadline::never());
        guard.tick();
    }
}

TEST_CASE("submissions to workers that cannot run yet wake hardly anybody") {
    // As when the submitter keeps the interpreter: the worker that is woken waits in enter() until it is let
    // in.
    std::atomic<int> ran{0};
    std::mutex interpreter;
    script what;
    what.enter = [&](job&) { interpreter.lock(); };
    what.leave = [&] { interpreter.unlock(); };
    pool_options options;
    options.eager_threads = true;
    pool_fixture pool(8, options, what);
    REQUIRE(eventually([&] { return pool->stats().parks >= 8; })); // all have started and go to sleep
    constexpr int jobs = 10'000;
    const std::uint64_t before = pool->stats().wakes;
    {
        const std::lock_guard busy(interpreter);
        for (int i = 0; i < jobs; ++i) throw_in(*pool, [&] { ran.fetch_add(1); });
        CHECK(ran == 0);
        CHECK(pool->stats().wakes - before < 100);
    }
    CHECK(eventually([&] { return ran.load() == jobs; }));
    CHECK(pool->stats().wakes - before < 100);
}

TEST_CASE("jobs that block wake every worker there is, one after the other") {
    for (const std::uint32_t workers : {2u, 8u, 32u}) {
        for (const std::int64_t spin : {0, -1}) {
            std::deque<gate> gates(20);
            std::atomic<std::uint32_t> through{0};
            pool_fixture pool(workers, spinning(spin));
            for (gate& all_here : gates) {
                through = 0;
                for (std::uint32_t i = 0; i < workers; ++i) {
                    throw_in(*pool, [&] {
                        all_here.pass();
                        through.fetch_add(1);
                    });
                }
                CHECK(all_here.await(static_cast<int>(workers)));
                all_here.open();
                CHECK(eventually([&] { return through.load() == workers; }));
            }
            CHECK(pool->stats().peak_queued >= 1);
        }
    }
}

TEST_CASE("the first worker that is woken wakes the next, without another submission") {
    // Jobs that became queued while there was nobody to wake, and then one resize.
    gate all_here;
    std::atomic<int> through{0};
    pool_fixture pool(0);
    for (int i = 0; i < 16; ++i) {
        throw_in(*pool, [&] {
            all_here.pass();
            through.fetch_add(1);
        });
    }
    REQUIRE(pool->resize(16));
    CHECK(all_here.await(16));
    all_here.open();
    CHECK(eventually([&] { return through.load() == 16; }));
}

TEST_CASE("one job wakes one worker, the one that was woken last") {
    gate all_here;
    pool_fixture pool(8, spinning(0));
    for (int i = 0; i < 8; ++i) throw_in(*pool, [&] { all_here.pass(); });
    REQUIRE(all_here.await(8));
    all_here.open();
    REQUIRE(pool.settles());
    std::this_thread::sleep_for(std::chrono::milliseconds(20 * slowness)); // they have gone to sleep
    const std::uint64_t before = pool->stats().wakes;
    constexpr int jobs = 100;
    std::thread::id runner;
    int strangers = 0;
    for (int i = 0; i < jobs; ++i) {
        auto one = make_job([] { return std::this_thread::get_id(); });
        REQUIRE(pool->submit(*one) == submitted::accepted);
        (void)pool->wait(*one, deadline::never());
        if (i == 0) runner = one->result();
        strangers += one->result() != runner;
        std::this_thread::sleep_for(std::chrono::microseconds(200)); // it sleeps again
    }
    CHECK(pool->stats().wakes - before <= jobs + 5); // one each, at most
    CHECK(strangers <= 5);
}

#if defined(__linux__)
TEST_CASE("an idle pool does no context switch") {
    std::mutex lock;
    std::vector<long> ids;
    script what;
    what.ready = [&](slot&) {
        const std::lock_guard guard(lock);
        ids.push_back(syscall(SYS_gettid));
        return true;
    };
    gate all_here;
    pool_fixture pool(8, {}, what);
    for (int i = 0; i < 8; ++i) throw_in(*pool, [&] { all_here.pass(); });
    REQUIRE(all_here.await(8));
    all_here.open();
    REQUIRE(pool.settles());
    REQUIRE(ids.size() == 8);
    const auto switches = [&] {
        long total = 0;
        for (const long id : ids) {
            std::ifstream status("/proc/self/task/" + std::to_string(id) + "/status");
            for (std::string word; status >> word;) {
                long count = 0;
                if ((word == "voluntary_ctxt_switches:" || word == "nonvoluntary_ctxt_switches:") &&
                    status >> count) {
                    total += count;
                }
            }
        }
        return total;
    };
    std::this_thread::sleep_for(std::chrono::milliseconds(100 * slowness)); // until the last one sleeps
    const long before = switches();
    CHECK(before > 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    CHECK(switches() == before);
}
#endif
