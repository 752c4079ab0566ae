#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <ctime>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "loomy/exec/function_job.hpp"
#include "loomy/exec/interrupts.hpp"
#include "loomy/exec/pool.hpp"
#include "pool_fixture.hpp"
#include "pool_race.hpp"

using namespace loomy;
using namespace loomy::testing;

namespace {

template <class Handle>
void submit(pool_fixture& where, Handle& one) {
    REQUIRE(where->submit(*one) == submitted::accepted);
}

// Submits and lets go of it.
template <class Function>
submitted throw_in(pool_fixture& where, Function function) {
    auto one = make_job(std::move(function));
    const submitted answer = where->submit(*one);
    // Refused by the pool, or taken back with the queue's hold left to the queue.
    if (answer == submitted::closed || answer == submitted::full) (void)one->drop_hold();
    return answer;
}

pool_options bounded(std::int64_t max_pending) {
    pool_options options;
    options.max_pending = max_pending;
    return options;
}

// How many jobs that wait at `at` the pool takes before it is full.
int fill(pool_fixture& where, gate& at) {
    int taken = 0;
    while (throw_in(where, [&] { at.pass(); }) == submitted::accepted) ++taken;
    return taken;
}

} // namespace

TEST_CASE("a job runs and its result can be waited for") {
    pool_fixture pool(2);
    auto job = make_job([] { return 42; });
    submit(pool, job);
    CHECK(pool->wait(*job, deadline::never()) == wait_status::woken);
    CHECK(job->result() == 42);
}

TEST_CASE("an exception is the job's error and the worker goes on") {
    pool_fixture pool(1);
    auto bad = make_job([]() -> int { throw std::runtime_error("no"); });
    auto good = make_job([] { return 1; });
    submit(pool, bad);
    submit(pool, good);
    (void)pool->wait(*good, deadline::never());
    CHECK(bad->error() != nullptr);
    CHECK(good->result() == 1);
    CHECK(pool->stats().failed == 1);
}

TEST_CASE("every job runs exactly once, whoever submits") {
    for (const int producers : {1, 2, 4, 8}) {
        for (const std::uint32_t workers : {1u, 2u, 4u, 8u}) {
            pool_fixture pool(workers);
            const int each = 4'000 / producers;
            std::vector<std::atomic<int>> counts(static_cast<std::size_t>(producers * each));
            std::vector<std::thread> threads;
            for (int p = 0; p < producers; ++p) {
                threads.emplace_back([&, p] {
                    for (int i = 0; i < each; ++i) {
                        auto one = make_job(
                            [&, p, i] { counts[static_cast<std::size_t>(p * each + i)].fetch_add(1); });
                        while (pool->submit(*one) != submitted::accepted) {
                        }
                        if (i % 3 == 0) (void)pool->wait(*one, deadline::never());
                    }
                });
            }
            for (auto& one : threads) one.join();
            pool->drain();
            (void)pool->wait_for_size(0, deadline::never());
            for (auto& count : counts) REQUIRE(count.load() == 1);
        }
    }
}

TEST_CASE("a job abandoned in the queue never runs") {
    pool_fixture pool(0);
    std::atomic<int> ran{0};
    auto job = make_job([&] { ++ran; });
    submit(pool, job);
    CHECK(pool->abandon(*job, phase::cancelled));
    CHECK_FALSE(pool->abandon(*job, phase::timed_out));
    CHECK(job->state() == phase::cancelled);
    REQUIRE(pool->resize(1));
    auto after = make_job([] {});
    submit(pool, after);
    (void)pool->wait(*after, deadline::never());
    CHECK(ran == 0);
    CHECK(pool->stats().cancelled == 1);
}

TEST_CASE("a job that waits for jobs of its own pool helps, one worker and a hundred deep") {
    pool_fixture pool(1);
    struct nest {
        pool_fixture& where;
        int operator()(int depth) const {
            if (depth == 0) return 0;
            auto inner = make_job([this, depth] { return (*this)(depth - 1) + 1; });
            if (where->submit(*inner) != submitted::accepted) return -1000;
            (void)where->wait(*inner, deadline::never());
            return inner->result();
        }
    };
    const nest recursive{pool};
    auto job = make_job([&] { return recursive(100); });
    submit(pool, job);
    (void)pool->wait(*job, deadline::never());
    CHECK(job->result() == 100);
}

// Bounded queues.

TEST_CASE("a job that waits runs others inside itself only so deep, and leaves wake-ups to those with room") {
    constexpr int room = 33; // the one that waits first, and 32 inside it
    pool_fixture pool(3);
    gate at;
    auto awaited = make_job([&] { at.pass(); });
    submit(pool, awaited);
    REQUIRE(at.await(1));
    std::atomic<int> began{0}, ended{0};
    const auto wait_inside = [&] {
        began.fetch_add(1);
        (void)pool->wait(*awaited, deadline::never());
        ended.fetch_add(1);
    };
    // One after the other, so that each has to wake somebody; two threads have room.
    for (int i = 1; i <= 2 * room; ++i) {
        REQUIRE(throw_in(pool, wait_inside) == submitted::accepted);
        REQUIRE(eventually([&] { return began == i; }));
    }
    for (int i = 0; i < 100; ++i) REQUIRE(throw_in(pool, wait_inside) == submitted::accepted);
    CHECK(pool->wait(*awaited, in_ms(20)) == wait_status::timed_out);
    CHECK(began == 2 * room);
    CHECK(pool->queue_length() == 100);
    at.open();
    REQUIRE(eventually([&] { return ended == 2 * room + 100; }));
}

TEST_CASE("where others are not helped a job that waits runs only what it waits for") {
    pool_options strict;
    strict.helps_with_others = false;
    pool_fixture pool(2, strict);
    gate at;
    auto awaited = make_job([&] { at.pass(); });
    submit(pool, awaited);
    REQUIRE(at.await(1));
    std::atomic<bool> other_ran{false};
    std::atomic<bool> nested_ran{false};
    auto waits = make_job([&] {
        REQUIRE(throw_in(pool, [&] { other_ran = true; }) == submitted::accepted);
        auto nested = make_job([&] { nested_ran = true; });
        submit(pool, nested);
        CHECK(pool->wait(*nested, in_ms(20)) == wait_status::timed_out); // it keeps the deadline
        CHECK(!nested_ran);
        (void)pool->wait(*nested, deadline::never());
        CHECK(nested_ran);
        (void)pool->wait(*awaited, in_ms(20));
        CHECK(!other_ran);
        at.open();
        (void)pool->wait(*awaited, deadline::never());
    });
    submit(pool, waits);
    CHECK(pool->wait(*waits, deadline::never()) == wait_status::woken);
    CHECK(eventually([&] { return other_ran.load(); }));
}

TEST_CASE("where workers take no turns one leaves its surroundings after 64, 128, 256 jobs in a row") {
    for (const bool takes_turns : {false, true}) {
        pool_options options;
        options.takes_turns = takes_turns;
        int left = 0; // by the only worker, as what follows is seen by it alone until all is over
        std::vector<int> left_before;
        script what;
        what.leave = [&] { ++left; };
        pool_fixture pool(1, options, what);
        gate at;
        REQUIRE(throw_in(pool, [&] { at.pass(); }) == submitted::accepted);
        REQUIRE(at.await(1));
        for (int i = 2; i < 300; ++i) {
            REQUIRE(throw_in(pool, [&] { left_before.push_back(left); }) == submitted::accepted);
        }
        auto last = make_job([] {});
        submit(pool, last);
        at.open();
        CHECK(pool->wait(*last, deadline::never()) == wait_status::woken);
        REQUIRE(left_before.size() == 298);
        for (int i = 2; i < 300; ++i) {
            CAPTURE(i);
            CHECK(left_before[i - 2] == (takes_turns ? 0 : (i > 64) + (i > 128) + (i > 256)));
        }
    }
}

TEST_CASE("a bounded pool takes exactly a job for each worker and max_pending more") {
    for (const std::uint32_t workers : {0u, 1u, 2u, 5u}) {
        for (const std::int64_t limit : {0, 1, 3}) {
            std::deque<gate> gates(3);
            pool_fixture pool(workers, bounded(limit));
            for (gate& closed : gates) {
                CHECK(fill(pool, closed) == static_cast<int>(workers) + limit);
                CHECK(pool->queue_length() == static_cast<std::uint64_t>(limit));
                closed.open();
                if (workers == 0) break;
                // All places are free again as soon as the last job has its answer.
                REQUIRE(pool.settles());
                CHECK(pool->stats().completed == pool->stats().submitted);
                CHECK(pool->queue_length() == 0);
            }
        }
    }
}

TEST_CASE("an abandoned job gives its place to another at once") {
    gate closed;
    pool_fixture pool(1, bounded(2));
    REQUIRE(throw_in(pool, [&] { closed.pass(); }) == submitted::accepted);
    auto one = make_job([] {});
    auto two = make_job([] {});
    submit(pool, one);
    submit(pool, two);
    CHECK(throw_in(pool, [] {}) == submitted::full);
    CHECK(pool->abandon(*one, phase::cancelled));
    CHECK(pool->abandon_queued(*two, phase::timed_out));
    CHECK(pool->queue_length() == 0);
    CHECK(throw_in(pool, [] {}) == submitted::accepted);
    CHECK(throw_in(pool, [] {}) == submitted::accepted);
    CHECK(throw_in(pool, [] {}) == submitted::full);
    closed.open();
}

TEST_CASE("the bound holds whatever happens at once, and no place is lost") {
    watchdog guard("a bounded queue under load");
    for (const std::int64_t limit : {0, 1, 4}) {
        gate closed;
        std::atomic<int> ran{0};
        std::atomic<std::uint64_t> longest{0};
        pool_fixture pool(2, bounded(limit));
        std::vector<std::thread> threads;
        std::atomic<int> accepted{0}, abandoned{0};
        for (int t = 0; t < 3; ++t) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < 5'000 / slowness; ++i) {
                    auto one = make_job([&] { ran.fetch_add(1); });
                    submitted answer = pool->submit(*one);
                    while (answer == submitted::full && t == 0) { // one of them is patient
                        (void)pool->wait_for_place(deadline::never(), nullptr);
                        answer = pool->submit(*one);
                    }
                    if (answer != submitted::accepted) {
                        (void)one->drop_hold();
                        continue;
                    }
                    accepted.fetch_add(1);
                    if (i % 3 == 0 && pool->abandon_queued(*one, phase::cancelled)) abandoned.fetch_add(1);
                    for (std::uint64_t now = pool->queue_length(), most = longest.load(); now > most;) {
                        if (longest.compare_exchange_weak(most, now)) break;
                    }
                    if (i % 7 == 0) {
                        if (slot* const mine = pool->try_borrow()) pool->give_back(*mine);
                    }
                    guard.tick();
                }
            });
        }
        for (auto& one : threads) one.join();
        CHECK(longest <= static_cast<std::uint64_t>(limit));
        REQUIRE(eventually([&] { return ran == accepted - abandoned; }));
        REQUIRE(pool.settles());
        CHECK(pool->stats().running == 0);
        CHECK(fill(pool, closed) == 2 + limit);
        closed.open();
    }
}

TEST_CASE("a submitter that waits for a place goes on when a job starts, is abandoned, or the pool closes") {
    for (const std::string how :
         {"a job ends", "a job is abandoned", "the pool closes", "its own token", "a worker joins"}) {
        CAPTURE(how);
        gate closed;
        std::atomic<std::uint32_t> stop{0};
        pool_fixture pool(1, bounded(1));
        REQUIRE(throw_in(pool, [&] { closed.pass(); }) == submitted::accepted);
        auto queued = make_job([] {});
        submit(pool, queued);
        CHECK(pool->wait_for_place(in_ms(5), &stop) == wait_status::timed_out);
        std::atomic<bool> waiting{false};
        wait_status status = wait_status::timed_out;
        std::thread submitter([&] {
            waiting = true;
            status = pool->wait_for_place(in_ms(20'000 * slowness), &stop);
        });
        REQUIRE(eventually([&] { return waiting.load(); }));
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        if (how == "a job ends") closed.open();
        if (how == "a job is abandoned") CHECK(pool->abandon(*queued, phase::cancelled));
        if (how == "the pool closes") CHECK(pool->close_admission());
        if (how == "a worker joins") CHECK(pool->resize(2));
        if (how == "its own token") {
            stop = 1;
            pool->announce_places();
        }
        submitter.join();
        CHECK(status == wait_status::woken);
        closed.open();
    }
}

TEST_CASE("a place that comes free while a submitter is about to wait is not missed") {
    watchdog guard("waiting for places");
    pool_fixture pool(1, bounded(0));
    std::atomic<int> ran{0};
    for (int i = 0; i < 20'000 / slowness; ++i) {
        auto one = make_job([&] { ran.fetch_add(1); });
        submitted answer{};
        while ((answer = pool->submit(*one)) == submitted::full) {
            REQUIRE(pool->wait_for_place(deadline::never(), nullptr) == wait_status::woken);
        }
        REQUIRE(answer == submitted::accepted);
        guard.tick();
    }
}

// Size and end.

TEST_CASE("a pool of size 0 queues, and runs what it queued once it has workers") {
    std::atomic<int> ran{0};
    pool_fixture pool(0);
    for (int i = 0; i < 10; ++i) REQUIRE(throw_in(pool, [&] { ran.fetch_add(1); }) == submitted::accepted);
    CHECK(pool->queue_length() == 10);
    CHECK(pool->workers() == 0);
    REQUIRE(pool->resize(3));
    CHECK(eventually([&] { return ran == 10; }));
    REQUIRE(pool->resize(0));
    CHECK(pool->wait_for_size(0, in_ms(10'000 * slowness)) == wait_status::woken);
    REQUIRE(throw_in(pool, [&] { ran.fetch_add(1); }) == submitted::accepted);
    CHECK(pool->queue_length() == 1);
    CHECK(ran == 10);
    REQUIRE(pool->resize(1));
    CHECK(eventually([&] { return ran == 11; }));
}

TEST_CASE("what a pool without workers has queued is refused when it drains") {
    pool_fixture pool(0);
    auto one = make_job([] {});
    submit(pool, one);
    pool->drain();
    CHECK(one->state() == phase::refused);
    CHECK(pool->stats().refused == 1);
}

TEST_CASE("shrinking beside one busy and one idle worker lets the idle one go at once") {
    gate closed;
    pool_fixture pool(2);
    REQUIRE(throw_in(pool, [&] { closed.pass(); }) == submitted::accepted);
    REQUIRE(closed.await(1));
    REQUIRE(pool->resize(1));
    CHECK(pool->wait_for_size(1, in_ms(10'000 * slowness)) == wait_status::woken);
    CHECK(pool->workers() == 1);
    CHECK(pool->executing() == 1);
    closed.open();
}

TEST_CASE("a busy worker that is to go goes after its job, and no job is left behind") {
    gate closed;
    std::atomic<int> ran{0};
    pool_fixture pool(3);
    for (int i = 0; i < 3; ++i) REQUIRE(throw_in(pool, [&] { closed.pass(); }) == submitted::accepted);
    REQUIRE(closed.await(3));
    for (int i = 0; i < 100; ++i) REQUIRE(throw_in(pool, [&] { ran.fetch_add(1); }) == submitted::accepted);
    REQUIRE(pool->resize(1));
    CHECK(pool->wait_for_size(1, in_ms(5)) == wait_status::timed_out);
    closed.open();
    CHECK(pool->wait_for_size(1, in_ms(10'000 * slowness)) == wait_status::woken);
    CHECK(eventually([&] { return ran == 100; }));
}

TEST_CASE("growing takes back a shrinking that has not happened yet") {
    gate closed;
    pool_fixture pool(2);
    for (int i = 0; i < 2; ++i) REQUIRE(throw_in(pool, [&] { closed.pass(); }) == submitted::accepted);
    REQUIRE(closed.await(2));
    REQUIRE(pool->resize(1));
    REQUIRE(pool->resize(2));
    CHECK(pool->wait_for_size(1, in_ms(10'000 * slowness)) == wait_status::woken); // nobody is going to leave
    closed.open();
    REQUIRE(pool.settles());
    CHECK(pool->workers() == 2);
    CHECK(pool.threads.left == 0);
}

TEST_CASE("growing and shrinking under load loses nothing") {
    watchdog guard("resizing under load");
    std::atomic<int> ran{0};
    std::atomic<bool> stop{false};
    int submitted_jobs = 0;
    pool_fixture pool(1);
    std::thread resizer([&] {
        std::mt19937 random(1);
        while (!stop) {
            for (const std::uint32_t size : {32u, 1u, static_cast<std::uint32_t>(random() % 8), 0u, 3u}) {
                if (!pool->resize(size)) std::abort();
                pause_for(static_cast<unsigned>(random() % 2'000));
            }
            if (!pool->resize(1)) std::abort();
            if (pool->wait_for_size(1, deadline::never()) != wait_status::woken) std::abort();
            guard.tick();
        }
    });
    const deadline box = in_ms(take_long() ? 600'000 : 2'000);
    while (!box.passed()) {
        for (int i = 0; i < 20; ++i, ++submitted_jobs) {
            REQUIRE(throw_in(pool, [&] {
                        pause_for(50);
                        ran.fetch_add(1);
                    }) == submitted::accepted);
        }
        REQUIRE(eventually([&] { return ran == submitted_jobs; }));
    }
    stop = true;
    resizer.join();
    CHECK(pool->workers() == 1);
    CHECK(pool->size() == 1);
}

TEST_CASE(
    "the only worker that is ready retires while another one fails: what is queued is refused, not lost") {
    gate first, second, leaving;
    std::atomic<bool> retires{false};
    script what;
    what.ready = [&](slot& self) {
        if (self.id == 0) return true;
        second.pass();
        return false;
    };
    what.leave = [&] {
        if (retires) leaving.pass();
    };
    pool_fixture pool(2, {}, what);
    auto running = make_job([&] { first.pass(); });
    submit(pool, running);
    REQUIRE(first.await(1));
    auto left = make_job([] {});
    submit(pool, left);
    REQUIRE(second.await(1)); // the second worker has been woken for it
    REQUIRE(pool->resize(1));
    retires = true;
    first.open();
    REQUIRE(leaving.await(1)); // the first one goes, and still counts as ready
    second.open();
    // Nobody tells when it has found out and gone to sleep; if it has not yet, the job is refused all the
    // same.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    leaving.open();
    CHECK(eventually([&] { return left->finished(); }));
    CHECK(left->state() == phase::refused);
}

TEST_CASE("a submission that races the last worker and the end of a pool is run, refused or not accepted") {
    watchdog guard("a submission against the last worker and the end");
    std::unique_ptr<pool_fixture> home;
    job_handle<function_job<std::function<void()>>> one;
    submitted answer{};
    int lost = 0;
    race(
        5'000 / slowness,
        [&] {
            home = std::make_unique<pool_fixture>(1);
            one = make_job(std::function<void()>([] {}));
            auto first = make_job([] {});
            submit(*home, first);
            (void)(*home)->wait(*first, deadline::never());
        },
        {[&] { answer = (*home)->submit(*one); },
         [&] {
             pause_for(20);
             if (!(*home)->resize(0)) std::abort();
             (*home)->drain();
         }},
        [&] {
            if (answer == submitted::accepted) {
                lost += !eventually([&] { return one->finished(); });
            } else {
                (void)one->drop_hold();
            }
            home.reset();
            guard.tick();
        });
    CHECK(lost == 0);
}

TEST_CASE("a thousand times from one worker to many and back") {
    watchdog guard("resizing");
    pool_fixture pool(1);
    for (int i = 0; i < 1'000 / slowness; ++i) {
        auto one = make_job([] {});
        submit(pool, one);
        REQUIRE(pool->resize(65)); // ids beyond one word of free slots
        (void)pool->wait(*one, deadline::never());
        REQUIRE(pool->resize(1));
        REQUIRE(pool->wait_for_size(1, deadline::never()) == wait_status::woken);
        guard.tick();
    }
}

TEST_CASE("a pool can be resized and closed from inside its own jobs") {
    pool_fixture pool(2);
    auto one = make_job([&] { return pool->resize(5) && pool->resize(1); });
    submit(pool, one);
    (void)pool->wait(*one, deadline::never());
    CHECK(one->result());
    CHECK(pool->wait_for_size(1, in_ms(10'000 * slowness)) == wait_status::woken);
    auto last = make_job([&] {
        pool->drain();
        return pool->resize(3);
    });
    submit(pool, last);
    (void)pool->wait(*last, deadline::never());
    CHECK_FALSE(last->result());
    CHECK(throw_in(pool, [] {}) == submitted::closed);
    CHECK(pool->wait_for_size(0, in_ms(10'000 * slowness)) == wait_status::woken);
}

TEST_CASE("draining runs what is queued, discarding fails it, and both may be called any number of times") {
    for (const bool drain : {true, false}) {
        gate closed;
        std::atomic<int> ran{0};
        pool_fixture pool(1);
        REQUIRE(throw_in(pool, [&] { closed.pass(); }) == submitted::accepted);
        REQUIRE(closed.await(1));
        std::vector<job_handle<function_job<std::function<void()>>>> queued;
        for (int i = 0; i < 10; ++i) {
            queued.push_back(make_job(std::function<void()>([&] { ran.fetch_add(1); })));
            submit(pool, queued.back());
        }
        std::vector<std::thread> closers;
        std::atomic<int> firsts{0};
        for (int i = 0; i < 5; ++i) {
            closers.emplace_back([&] {
                if (pool->close_admission()) firsts.fetch_add(1);
                drain ? pool->drain() : pool->discard();
            });
        }
        for (auto& one : closers) one.join();
        CHECK(firsts == 1);
        CHECK(pool->queue_length() == (drain ? 10 : 0));
        closed.open();
        CHECK(pool->wait_for_size(0, in_ms(20'000 * slowness)) == wait_status::woken);
        CHECK(ran == (drain ? 10 : 0));
        for (const auto& one : queued) CHECK(one->state() == (drain ? phase::done : phase::refused));
        CHECK(throw_in(pool, [] {}) == submitted::closed);
        CHECK_FALSE(pool->resize(1));
    }
}

TEST_CASE("every submission that races a close ends with a result or a refusal") {
    watchdog guard("submissions against a close");
    for (int round = 0; round < 200 / slowness; ++round) {
        for (const bool drain : {true, false}) {
            std::atomic<int> ran{0}, accepted{0}, refused{0};
            pool_fixture pool(static_cast<std::uint32_t>(round % 3));
            std::vector<std::thread> threads;
            for (int t = 0; t < 2; ++t) {
                threads.emplace_back([&] {
                    for (int i = 0; i < 50; ++i) {
                        auto one = make_job([&] { ran.fetch_add(1); });
                        if (pool->submit(*one) == submitted::accepted) {
                            accepted.fetch_add(1);
                            if (round % 3 != 0) (void)pool->wait(*one, deadline::never());
                            if (one->state() == phase::refused) refused.fetch_add(1);
                        } else {
                            (void)one->drop_hold();
                            return;
                        }
                    }
                });
            }
            pause_for(static_cast<unsigned>(round) * 20 % 3'000);
            std::thread other([&] { drain ? pool->drain() : pool->discard(); });
            drain ? pool->drain() : pool->discard();
            other.join();
            for (auto& one : threads) one.join();
            REQUIRE(pool->wait_for_size(0, in_ms(20'000 * slowness)) == wait_status::woken);
            const pool_stats at_rest = pool->stats();
            CHECK(at_rest.submitted == static_cast<std::uint64_t>(accepted));
            CHECK(static_cast<std::uint64_t>(ran) + at_rest.refused == at_rest.submitted);
            guard.tick();
        }
    }
}

// Surroundings that fail.

TEST_CASE("workers that cannot make themselves ready every second time lose no job") {
    watchdog guard("workers that are not ready");
    std::atomic<int> tries{0}, ran{0};
    script what;
    what.ready = [&](slot&) { return tries.fetch_add(1) % 2 == 1; };
    int accepted = 0;
    {
        pool_fixture pool(4, {}, what);
        for (int i = 0; i < 2'000 / slowness; ++i) {
            auto one = make_job([&] { ran.fetch_add(1); });
            submit(pool, one);
            ++accepted;
            if (i % 5 == 0) (void)pool->wait(*one, deadline::never());
            if (i % 50 == 0) {
                REQUIRE(pool->resize(1 + static_cast<std::uint32_t>(i / 50 % 4)));
            }
            guard.tick();
        }
        // Refused only where nobody is ready. Who is from here on stays, but another may still be refusing.
        REQUIRE(pool->resize(4));
        const auto runs_one = [&] {
            auto one = make_job([&] { ran.fetch_add(1); });
            submit(pool, one);
            ++accepted;
            (void)pool->wait(*one, deadline::never());
            return one->state() == phase::done;
        };
        CHECK(eventually([&] {
            int in_a_row = 0;
            while (in_a_row < 100 && runs_one()) ++in_a_row;
            return in_a_row == 100;
        }));
        pool->drain();
        REQUIRE(pool->wait_for_size(0, in_ms(20'000 * slowness)) == wait_status::woken);
        const pool_stats at_rest = pool->stats();
        CHECK(static_cast<std::uint64_t>(ran) + at_rest.refused == static_cast<std::uint64_t>(accepted));
    }
}

TEST_CASE("if no worker can make itself ready what is queued fails, and the next submission tries again") {
    std::atomic<bool> broken{true};
    script what;
    what.ready = [&](slot&) { return !broken; };
    pool_fixture pool(3, {}, what);
    auto one = make_job([] {});
    submit(pool, one);
    (void)pool->wait(*one, deadline::never());
    CHECK(one->state() == phase::refused);
    broken = false;
    // The worker that refused the first may refuse what comes while it does.
    CHECK(eventually([&] {
        auto other = make_job([] {});
        submit(pool, other);
        (void)pool->wait(*other, deadline::never());
        return other->state() == phase::done;
    }));
}

TEST_CASE("a job is taken back if no thread can be started, and queued if there is one") {
    watchdog guard("threads that cannot be started");
    std::atomic<int> can_start{0};
    gate closed;
    std::atomic<int> ran{0};
    script what;
    what.start = [&](slot&) { return can_start.fetch_sub(1) > 0; };
    pool_fixture pool(3, {}, what);
    auto one = make_job([] {});
    CHECK(pool->submit(*one) == submitted::no_thread);
    CHECK(pool->stats().submitted == 0);
    CHECK(pool->queue_length() == 0);
    can_start = 1;
    REQUIRE(throw_in(pool, [&] { closed.pass(); }) == submitted::accepted);
    REQUIRE(closed.await(1));
    // The only worker is busy, the others have no thread: the job waits for it, its submitter does not.
    REQUIRE(throw_in(pool, [&] { ran.fetch_add(1); }) == submitted::accepted);
    guard.tick();
    CHECK(ran == 0);
    closed.open();
    CHECK(eventually([&] { return ran == 1; }));
}

TEST_CASE("a pool that drains and can have no thread refuses what it queued") {
    script what;
    what.start = [](slot&) { return false; };
    pool_fixture pool(0, {}, what);
    auto one = make_job([] {});
    submit(pool, one);
    REQUIRE(pool->resize(1)); // a worker, though without a thread
    CHECK(pool->queue_length() == 1);
    pool->drain();
    CHECK(pool->wait_for_size(0, in_ms(2'000 * slowness)) == wait_status::woken);
    CHECK(one->state() == phase::refused);
}

TEST_CASE("a close that races threads that cannot be started lets every worker go") {
    watchdog guard("a close against threads that cannot be started");
    int wrong = 0;
    std::unique_ptr<scripted_threads> threads;
    ref<pool> core;
    std::atomic<int> started{0};
    race(
        5'000 / slowness,
        [&] {
            started = 0;
            script what;
            what.start = [&](slot&) { return started.fetch_add(1) % 2 == 0; };
            threads = std::make_unique<scripted_threads>(what);
            core = ref<pool>::adopt(new pool({}, *threads));
            wrong += !core->resize(3);
        },
        {[&] {
             for (int i = 0; i < 2; ++i) {
                 auto one = make_job([] {});
                 const submitted answer = core->submit(*one);
                 if (answer == submitted::closed) (void)one->drop_hold();
             }
         },
         [&] {
             pause_for(100);
             core->drain();
         }},
        [&] {
            wrong += core->wait_for_size(0, in_ms(10'000 * slowness)) != wait_status::woken;
            wrong += !eventually([&] { return threads->alive == 0; });
            guard.tick();
        });
    CHECK(wrong == 0);
}

// Waiting inside jobs.

TEST_CASE("a waiting job that is told of work and gets its answer at the same time passes the work on") {
    // Both workers wait in jobs. A job comes, and the answer of the one that was told of it: it does not come
    // back to the queue before the other one, which would run the job, has.
    watchdog guard("work that is passed on");
    int late = 0;
    std::atomic<bool> first_waits{false}, second_waits{false}, answer_first{false}, ran{false}, over{false};
    pool_fixture home(2);
    pool_fixture other(2);
    const auto wait_for = [&](std::atomic<bool>& waits, std::atomic<bool>& answer) {
        auto slow = make_job([&] {
            waits = true;
            spin_until([&] { return answer.load() || over.load(); });
        });
        if (other->submit(*slow) != submitted::accepted) std::abort();
        (void)other->wait(*slow, deadline::never());
    };
    job_handle<function_job<std::function<void()>>> one, two, work;
    race(
        3'000 / slowness,
        [&] {
            first_waits = second_waits = answer_first = ran = over = false;
            // The one that waits last is told first.
            one = make_job(std::function<void()>([&] { wait_for(first_waits, ran); }));
            two = make_job(std::function<void()>([&] {
                wait_for(second_waits, answer_first);
                spin_until([&] { return ran.load() || over.load(); });
            }));
            work = make_job(std::function<void()>([&] { ran = true; }));
            submit(home, one);
            spin_until([&] { return first_waits.load(); });
            std::this_thread::sleep_for(std::chrono::microseconds(100));
            submit(home, two);
            spin_until([&] { return second_waits.load(); });
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        },
        {[&] { answer_first = true; },
         [&] {
             pause_for(50);
             if (home->submit(*work) != submitted::accepted) std::abort();
         }},
        [&] {
            late += !eventually([&] { return ran.load(); }); // what was lost stays lost
            over = true;
            (void)home->wait(*one, deadline::never());
            (void)home->wait(*two, deadline::never());
            (void)home->wait(*work, deadline::never());
            guard.tick();
        });
    CHECK(late == 0);
}

TEST_CASE("a waiting job is told of what a worker that is not ready leaves behind") {
    std::atomic<bool> waiting{false}, ran{false}, over{false};
    std::atomic<int> unready{0};
    script what;
    what.ready = [&](slot& self) {
        if (self.id == 0) return true;
        unready.fetch_add(1);
        return false;
    };
    pool_fixture home(2, {}, what);
    pool_fixture other(1);
    auto outer = make_job([&] {
        auto slow = make_job([&] {
            waiting = true;
            spin_until([&] { return ran.load() || over.load(); });
        });
        if (other->submit(*slow) != submitted::accepted) std::abort();
        (void)other->wait(*slow, deadline::never());
    });
    submit(home, outer);
    REQUIRE(eventually([&] { return waiting.load(); }));
    std::this_thread::sleep_for(std::chrono::milliseconds(20 * slowness)); // it has gone to sleep
    auto work = make_job([&] { ran = true; });
    submit(home, work);
    CHECK(eventually([&] { return ran.load(); }));
    // If it had not gone to sleep it may have run the job before the other worker failed.
    CHECK(eventually([&] { return unready >= 1; }));
    over = true;
    (void)home->wait(*outer, deadline::never());
}

TEST_CASE(
    "a job that waits with a deadline for a worker that takes long to get ready does not spin meanwhile") {
    std::atomic<bool> first{true};
    script what;
    what.ready = [&](slot&) {
        if (!first.exchange(false)) std::this_thread::sleep_for(std::chrono::milliseconds(400));
        return true;
    };
    pool_fixture pool(2, {}, what);
    auto outer = make_job([&] {
        auto inner = make_job([] {});
        if (pool->submit(*inner) != submitted::accepted) std::abort();
        timespec before{}, after{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
        (void)pool->wait(*inner, in_ms(200));
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
        return (after.tv_sec - before.tv_sec) * 1'000'000'000 + after.tv_nsec - before.tv_nsec;
    });
    submit(pool, outer);
    (void)pool->wait(*outer, deadline::never());
    CHECK(outer->result() < 50'000'000);
}

// Interrupts.

TEST_CASE("an interrupt is delivered once, and to no job that started later") {
    struct nothing final : job {
        bool run(frame&) override { return true; }
        void on_abandoned(phase, bool) override {}
        void dispose() override {}
    } which;
    interrupts here;
    std::atomic<int> delivered{0};
    interrupts::entry mine;
    std::atomic<bool> running{false};
    int wrong = 0;
    const auto deliver = [&] {
        if (!running) ++wrong;
        delivered.fetch_add(1);
        pause_for(20);
    };
    race(
        20'000 / slowness,
        [&] {
            delivered = 0;
            running = true;
            here.begin(mine, which);
        },
        {[&] {
             here.end(true, deliver); // it was abandoned, so it is owed one
             running = false;
         },
         [&] { (void)here.request(&which, deliver); }},
        [&] { wrong += delivered != 1; });
    CHECK(wrong == 0);
    CHECK_FALSE(here.request(&which, deliver));
    CHECK_FALSE(here.request(nullptr, deliver));
}

TEST_CASE("an interrupt finds no job that lies where one lay that has been published") {
    struct nothing final : job {
        bool run(frame&) override { return true; }
        void on_abandoned(phase, bool) override {}
        void dispose() override {}
    } place;
    interrupts slow; // its runner has published, and is on its way to `end`
    interrupts fast; // runs the next job, which has the same address
    interrupts::entry published;
    interrupts::entry running;
    int wrong = 0;
    int right = 0;
    slow.begin(published, place);
    interrupts::retract(published);
    fast.begin(running, place);
    CHECK_FALSE(slow.request(&place, [&] { ++wrong; }));
    CHECK_FALSE(slow.request(nullptr, [&] { ++wrong; }));
    CHECK(fast.request(&place, [&] { ++right; }));
    slow.end(false, [&] { ++wrong; });
    fast.end(true, [&] { ++right; });
    CHECK(wrong == 0);
    CHECK(right == 1);
    slow.begin(published, place);
    interrupts::retract(published);
    slow.end(true, [&] { ++right; }); // abandoned in between: it is owed one all the same
    CHECK(right == 2);
}

TEST_CASE(
    "an interrupt in progress that needs what the worker holds does not stop it from running a nested job") {
    std::mutex interpreter;
    std::atomic<bool> delivering{false};
    script what;
    what.enter = [&](job&) { interpreter.lock(); };
    what.leave = [&] { interpreter.unlock(); };
    what.interrupt = [&](slot&) {
        delivering = true;
        const std::lock_guard guard(interpreter);
    };
    watchdog guard("a nested job during an interrupt");
    pool_options options;
    options.interruptible = true;
    std::atomic<bool> inside{false};
    pool_fixture pool(1, options, what);
    auto outer = make_job([&] {
        inside = true;
        spin_until([&] { return delivering.load(); });
        auto inner = make_job([] {});
        if (pool->submit(*inner) != submitted::accepted) std::abort();
        (void)pool->wait(*inner, deadline::never());
    });
    submit(pool, outer);
    REQUIRE(eventually([&] { return inside.load(); }));
    CHECK(pool->abandon(*outer, phase::cancelled));
    REQUIRE(pool.settles());
}

TEST_CASE("stopping what runs races its end: the job may be gone at once") {
    watchdog guard("stopping what runs against its end");
    std::atomic<int> ran{0};
    job_handle<function_job<std::function<void()>>> one;
    int wrong = 0;
    pool_fixture pool(1);
    race(
        10'000 / slowness,
        [&] {
            one = make_job(std::function<void()>([&] {
                ran.fetch_add(1);
                pause_for(20);
            }));
            submit(pool, one);
        },
        {[&] {
             pause_for(20);
             pool->stop_running();
         },
         [&] {
             (void)pool->wait(*one, deadline::never());
             wrong += !one->finished();
             one.reset();
         }},
        [&] { guard.tick(); });
    CHECK(wrong == 0);
    REQUIRE(pool.settles());
    const pool_stats now = pool->stats();
    CHECK(now.completed + now.cancelled == now.submitted);
}

// Both: the innermost job, and the one below that waits for it.
TEST_CASE("a job that a worker has taken and not called yet is running, not lost") {
    gate before;
    script what;
    what.enter = [&](job&) { before.pass(); };
    pool_fixture pool(1, {}, what);
    auto one = make_job([] {});
    REQUIRE(pool->submit(*one) == submitted::accepted);
    REQUIRE(before.await(1));
    const pool_stats stats = pool->stats();
    CHECK(stats.submitted == 1);
    CHECK(stats.queued == 0);
    CHECK(stats.running == 1);
    before.open();
    (void)pool->wait(*one, deadline::never());
}

TEST_CASE("stopping what runs ends the wait for a job that runs another one inside itself") {
    gate closed;
    pool_fixture pool(1);
    auto outer = make_job([&] {
        auto inner = make_job([&] { closed.pass(); });
        if (pool->submit(*inner) != submitted::accepted) std::abort();
        (void)pool->wait(*inner, deadline::never());
    });
    submit(pool, outer);
    REQUIRE(closed.await(1));
    pool->discard();
    pool->stop_running();
    CHECK(pool->wait(*outer, in_ms(10'000 * slowness)) == wait_status::woken);
    closed.open();
    REQUIRE(pool->wait_for_size(0, in_ms(10'000 * slowness)) == wait_status::woken);
}
