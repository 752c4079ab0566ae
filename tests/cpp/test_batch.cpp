#include "loomy/exec/batch.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "pool_fixture.hpp"
#include "pool_race.hpp"

using namespace loomy;
using namespace loomy::testing;

namespace {

// What became of a batch and its items; outlives the batch.
struct record {
    explicit record(std::uint64_t size) : runs(size), refusals(size), results(size) {}
    std::vector<std::atomic<int>> runs, refusals;
    std::vector<int> results; // not atomic: whoever sees the batch finished sees them all
    std::atomic<int> abandoned{0}, disposed{0};
    std::atomic<int> inside{0}, most_inside{0}, took_part{0};

    [[nodiscard]] int total(const std::vector<std::atomic<int>>& of) const {
        int sum = 0;
        for (const auto& one : of) sum += one.load();
        return sum;
    }
    // Every item either ran once or was refused once.
    [[nodiscard]] bool each_once() const {
        for (std::size_t i = 0; i < runs.size(); ++i) {
            if (runs[i].load() + refusals[i].load() != 1) return false;
        }
        return true;
    }
};

class probe_batch final : public batch {
  public:
    probe_batch(pool& home, record& into, std::function<void(std::uint64_t)> item = {})
        : batch(into.runs.size()), home_(home), into_(into), item_(std::move(item)) {
        add_hold(); // the queue's
    }

    int most_participants = 1'000;
    bool joins(frame&) override {
        if (joined_.fetch_add(1) < most_participants) return true;
        joined_.fetch_sub(1);
        return false;
    }
    std::uint64_t take_part(frame& where) override {
        into_.took_part.fetch_add(1);
        const int inside = into_.inside.fetch_add(1) + 1;
        for (int most = into_.most_inside.load();
             most < inside && !into_.most_inside.compare_exchange_weak(most, inside);) {
        }
        std::uint64_t done = 0;
        for (range next = claim(1); !next.empty(); next = claim(1)) {
            for (std::uint64_t i = next.begin; i < next.end; ++i, ++done) {
                slot_stats& stats = where.where.stats;
                stats.started.add();
                if (item_) item_(i);
                into_.results[i] = 1;
                into_.runs[i].fetch_add(1, std::memory_order_relaxed);
                if (is_final(state())) {
                    home_.count_abandoned_item(state());
                } else {
                    stats.completed.add();
                }
                stats.finished.add();
            }
        }
        into_.inside.fetch_sub(1);
        return done;
    }
    std::uint64_t payloads_abandoned(range which, phase) override {
        for (std::uint64_t i = which.begin; i < which.end; ++i)
            into_.refusals[i].fetch_add(1, std::memory_order_relaxed);
        return which.size();
    }
    void on_abandoned(phase, bool) override { into_.abandoned.fetch_add(1); }
    void dispose() override {
        into_.disposed.fetch_add(1);
        delete this;
    }

  private:
    pool& home_;
    record& into_;
    const std::function<void(std::uint64_t)> item_;
    std::atomic<int> joined_{0};
};

using handle = job_handle<probe_batch>;

handle make_batch(pool_fixture& home, record& into, std::function<void(std::uint64_t)> item = {}) {
    return handle(new probe_batch(*home, into, std::move(item)));
}

void help(pool_fixture& home, batch& which) {
    slot* const mine = home->try_borrow_to_share();
    if (mine == nullptr) return;
    script nothing;
    scripted_env env(nothing);
    {
        frame here(*home, *mine, env, false);
        home->take_part(which, here);
    }
    home->give_back(*mine);
}

} // namespace

TEST_CASE("the shared cursor hands out every item once, whatever the number of participants") {
    for (const int participants : {1, 2, 3, 4}) {
        constexpr std::uint64_t size = 1'000;
        pool_fixture nobody(0);
        record seen(size);
        handle one = make_batch(nobody, seen);
        std::vector<std::atomic<int>> claimed(size);
        std::atomic<int> enders{0};
        std::vector<std::thread> threads;
        for (int p = 0; p < participants; ++p) {
            threads.emplace_back([&, p] {
                std::uint64_t mine = 0;
                const auto want = static_cast<std::uint64_t>(p + 1);
                for (auto next = one->claim(want); !next.empty(); next = one->claim(want)) {
                    for (std::uint64_t i = next.begin; i < next.end; ++i) claimed[i].fetch_add(1);
                    mine += next.end - next.begin;
                }
                if (one->finish(mine)) enders.fetch_add(1);
            });
        }
        for (auto& thread : threads) thread.join();
        for (auto& count : claimed) REQUIRE(count == 1);
        CHECK(enders == 1);
        CHECK(one->unclaimed() == 0);
        CHECK(one->claim(5).empty());
        CHECK(one->claim_rest().empty());
        (void)one->drop_hold(); // never submitted
    }
}

TEST_CASE("what is claimed and the rest that is claimed away do not overlap") {
    constexpr std::uint64_t size = 8;
    pool_fixture nobody(0);
    record seen(size);
    handle one;
    std::vector<int> claimed;
    batch::range rest{};
    int wrong = 0;
    race(
        10'000 / slowness,
        [&] {
            if (one) (void)one->drop_hold();
            one = make_batch(nobody, seen);
            claimed.assign(size, 0);
        },
        {[&] {
             for (auto next = one->claim(1); !next.empty(); next = one->claim(1)) ++claimed[next.begin];
         },
         [&] {
             pause_for(10);
             rest = one->claim_rest();
         }},
        [&] {
            for (std::uint64_t i = rest.begin; i < rest.end; ++i) ++claimed[i];
            for (const int count : claimed) wrong += count != 1;
        });
    CHECK(wrong == 0);
    (void)one->drop_hold();
}

TEST_CASE("a batch runs every item once on any number of workers, and is disposed of once") {
    watchdog guard("batches on 1 to 8 workers");
    for (const std::uint32_t workers : {1u, 2u, 4u, 8u}) {
        for (const std::uint64_t size : {1u, 2u, 7u, 1'000u}) {
            std::deque<record> all; // a worker may look at its batch for a moment longer
            pool_fixture pool(workers);
            for (int round = 0; round < 50 / slowness + 1; ++round) {
                record& seen = all.emplace_back(size);
                handle one = make_batch(pool, seen);
                REQUIRE(pool->submit(*one) == submitted::accepted);
                if (round % 2 == 0) help(pool, *one); // its submitter takes part
                (void)pool->wait(*one, deadline::never());
                CHECK(one->state() == phase::done);
                CHECK(seen.each_once());
                CHECK(seen.total(seen.runs) == static_cast<int>(size));
                CHECK(std::accumulate(seen.results.begin(), seen.results.end(), 0) == static_cast<int>(size));
                one.reset();
                CHECK(eventually([&] { return seen.disposed == 1; }));
                guard.tick();
            }
            CHECK(pool->stats().submitted == pool->stats().completed);
        }
    }
}

TEST_CASE("every worker takes part in a batch whose items last") {
    record seen(8);
    gate all_here;
    pool_fixture pool(4);
    handle one = make_batch(pool, seen, [&](std::uint64_t) { all_here.pass(); });
    REQUIRE(pool->submit(*one) == submitted::accepted);
    CHECK(all_here.await(4));
    CHECK(seen.most_inside == 4);
    CHECK(pool->executing() == 4);
    all_here.open();
    (void)pool->wait(*one, deadline::never());
    CHECK(seen.each_once());
}

TEST_CASE("a batch has one entry in the queue at most, and takes one place in it") {
    record seen(100);
    gate first_two, in_items, last;
    pool_options options;
    options.max_pending = 2;
    pool_fixture pool(2, options);
    for (int i = 0; i < 2; ++i) {
        auto blocker = make_job([&] { first_two.pass(); });
        REQUIRE(pool->submit(*blocker) == submitted::accepted);
    }
    REQUIRE(first_two.await(2));
    handle one = make_batch(pool, seen, [&](std::uint64_t) { in_items.pass(); });
    REQUIRE(pool->submit(*one) == submitted::accepted);
    CHECK(pool->queue_length() == 100); // its items are what is queued
    auto other = make_job([] {});
    REQUIRE(pool->submit(*other) == submitted::accepted); // the second place
    auto third = make_job([] {});
    CHECK(pool->submit(*third) == submitted::full);
    (void)third->drop_hold();
    first_two.open();
    REQUIRE(in_items.await(1));
    // Both workers are in the batch by and by; once its items are out, the places are free again.
    in_items.open();
    (void)pool->wait(*one, deadline::never());
    (void)pool->wait(*other, deadline::never());
    CHECK(seen.each_once());
    CHECK(pool->queue_length() == 0);
    // Exactly two workers and two places, as before: soon, as a worker may have come to the batch too late.
    int accepted = 0;
    CHECK(eventually([&] {
        auto blocker = make_job([&] { last.pass(); });
        if (pool->submit(*blocker) == submitted::accepted) {
            ++accepted;
        } else {
            (void)blocker->drop_hold();
        }
        return accepted == 4;
    }));
    auto fifth = make_job([] {});
    CHECK(pool->submit(*fifth) == submitted::full);
    (void)fifth->drop_hold();
    last.open();
}

TEST_CASE("abandoning a batch refuses what has not started, and what runs ends without an answer") {
    record seen(50);
    gate in_items;
    pool_fixture pool(2);
    handle one = make_batch(pool, seen, [&](std::uint64_t) { in_items.pass(); });
    REQUIRE(pool->submit(*one) == submitted::accepted);
    REQUIRE(in_items.await(2));
    CHECK(pool->abandon(*one, phase::cancelled));
    CHECK_FALSE(pool->abandon(*one, phase::timed_out));
    CHECK(one->state() == phase::cancelled);
    CHECK(pool->wait(*one, deadline::never()) == wait_status::woken); // at once, while two items still run
    CHECK(seen.total(seen.refusals) == 48);
    CHECK(pool->queue_length() == 0);
    in_items.open();
    REQUIRE(pool.settles());
    CHECK(seen.each_once());
    CHECK(seen.abandoned == 1);
    CHECK(pool->stats().cancelled == 50);
    one.reset();
    CHECK(eventually([&] { return seen.disposed == 1; }));
}

TEST_CASE("a batch abandoned at any moment loses no item, keeps no entry and is disposed of once") {
    watchdog guard("abandoning batches");
    std::unique_ptr<record> seen;
    pool_fixture pool(2);
    handle one;
    int wrong = 0;
    race(
        3'000 / slowness,
        [&] {
            seen = std::make_unique<record>(20);
            one = make_batch(pool, *seen, [](std::uint64_t) { pause_for(20); });
            if (pool->submit(*one) != submitted::accepted) std::abort();
        },
        {[&] {
             pause_for(100);
             (void)pool->abandon(*one, phase::timed_out);
         },
         [&] { help(pool, *one); }},
        [&] {
            if (!one->finished()) (void)pool->wait(*one, deadline::never());
            one.reset();
            // Whoever still holds it lets go.
            if (!eventually([&] { return seen->disposed == 1; })) ++wrong;
            wrong += !seen->each_once();
            guard.tick();
        });
    CHECK(wrong == 0);
    CHECK(pool.settles());
    CHECK(pool->queue_length() == 0);
}

TEST_CASE("closing refuses what has not started of a batch, and its waiter goes on") {
    record seen(50);
    gate in_items;
    pool_fixture pool(2);
    handle one = make_batch(pool, seen, [&](std::uint64_t) { in_items.pass(); });
    REQUIRE(pool->submit(*one) == submitted::accepted);
    REQUIRE(in_items.await(2));
    pool->discard();
    CHECK(seen.total(seen.refusals) == 48);
    in_items.open();
    (void)pool->wait(*one, deadline::never());
    CHECK(one->state() == phase::done); // the two that ran have their results
    CHECK(seen.each_once());
    CHECK(pool->stats().refused == 48);
}

TEST_CASE("a batch submitted to a closed pool is refused whole") {
    pool_fixture pool(1);
    pool->drain();
    record seen(5);
    handle one = make_batch(pool, seen);
    CHECK(pool->submit(*one) == submitted::closed);
    CHECK(pool->queue_length() == 0);
    CHECK(pool->stats().submitted == 0);
    (void)one->drop_hold();
}

TEST_CASE("a batch that races the close ends, with every item run or refused") {
    watchdog guard("batches against a close");
    for (int round = 0; round < 300 / slowness; ++round) {
        record seen(10);
        pool_fixture pool(2);
        handle one = make_batch(pool, seen, [](std::uint64_t) { pause_for(30); });
        std::thread closer([&] {
            pause_for(static_cast<unsigned>(round) % 50 * 10);
            if (round % 2 == 0) {
                pool->discard();
            } else {
                pool->drain();
            }
        });
        const submitted answer = pool->submit(*one);
        if (answer == submitted::accepted) {
            (void)pool->wait(*one, deadline::never());
            CHECK(seen.each_once());
        } else {
            CHECK(answer == submitted::closed);
            (void)one->drop_hold();
        }
        closer.join();
        guard.tick();
    }
}

TEST_CASE("a batch queued in a pool without workers waits for them, and is refused at the close") {
    SUBCASE("they come") {
        record seen(10);
        pool_fixture pool(0);
        handle one = make_batch(pool, seen);
        REQUIRE(pool->submit(*one) == submitted::accepted);
        CHECK(pool->queue_length() == 10);
        REQUIRE(pool->resize(2));
        (void)pool->wait(*one, deadline::never());
        CHECK(seen.total(seen.runs) == 10);
    }
    SUBCASE("they do not") {
        record seen(10);
        pool_fixture pool(0);
        handle one = make_batch(pool, seen);
        REQUIRE(pool->submit(*one) == submitted::accepted);
        pool->drain();
        CHECK(one->finished());
        CHECK(seen.total(seen.refusals) == 10);
        CHECK(pool->stats().refused == 10);
    }
}

TEST_CASE("a worker that does not join a batch gives its place back and finds other work") {
    gate last;
    record seen(200);
    pool_options options;
    options.max_pending = 1;
    pool_fixture pool(2, options);
    for (int round = 0; round < 20; ++round) {
        handle one = make_batch(pool, seen, [&](std::uint64_t i) {
            pause_for(50);
            if (i == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1)); // the other one comes by
        });
        one->most_participants = 1;
        REQUIRE(pool->submit(*one) == submitted::accepted);
        (void)pool->wait(*one, deadline::never());
        CHECK(seen.most_inside == 1);
    }
    REQUIRE(pool.settles());
    int accepted = 0;
    CHECK(eventually([&] {
        auto blocker = make_job([&] { last.pass(); });
        if (pool->submit(*blocker) == submitted::accepted) {
            ++accepted;
        } else {
            (void)blocker->drop_hold();
        }
        return accepted == 3;
    }));
    last.open();
}

TEST_CASE("a batch gives its places back before it has its answer") {
    watchdog guard("places of batches");
    for (int round = 0; round < 500 / slowness; ++round) {
        record seen(8);
        pool_options options;
        options.max_pending = 0;
        pool_fixture pool(1, options);
        handle one = make_batch(pool, seen);
        REQUIRE(pool->submit(*one) == submitted::accepted);
        (void)pool->wait(*one, deadline::never());
        auto next = make_job([] {});
        REQUIRE(pool->submit(*next) == submitted::accepted);
        guard.tick();
    }
}

// A worker takes the entry out of the queue before it puts it back, and at that moment nothing is queued: a
// pool that drains lets its idle workers go.
TEST_CASE("a pool that drains finishes its batches with all hands" * doctest::should_fail()) {
    std::mutex held;
    std::atomic<int> entered{0};
    script what;
    what.enter = [&](job&) {
        entered.fetch_add(1);
        const std::lock_guard guard(held);
    };
    record seen(8);
    pool_options options;
    options.eager_threads = true;
    pool_fixture pool(4, options, what);
    REQUIRE(eventually([&] { return pool->stats().parks >= 4; }));
    handle one = make_batch(pool, seen,
                            [](std::uint64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); });
    {
        const std::lock_guard guard(held);
        REQUIRE(pool->submit(*one) == submitted::accepted);
        REQUIRE(eventually([&] { return entered == 1; })); // it has the entry, and did not put it back yet
        pool->drain();
    }
    (void)pool->wait(*one, deadline::never());
    CHECK(seen.most_inside == 4);
}

TEST_CASE("a job that waits for a batch of its own pool takes part in it") {
    record seen(20);
    pool_fixture pool(1);
    auto outer = make_job([&] {
        handle inner = make_batch(pool, seen);
        if (pool->submit(*inner) != submitted::accepted) std::abort();
        (void)pool->wait(*inner, deadline::never());
    });
    REQUIRE(pool->submit(*outer) == submitted::accepted);
    (void)pool->wait(*outer, deadline::never());
    CHECK(seen.each_once());
    CHECK(seen.took_part >= 1);
    CHECK(eventually([&] { return seen.disposed == 1; }));
}

TEST_CASE("a batch runs on its caller's thread without the queue") {
    record seen(10);
    pool_fixture pool(1);
    handle one = make_batch(pool, seen);
    slot& guest = pool->enter_as_guest();
    script nothing;
    scripted_env env(nothing);
    {
        frame here(*pool, guest, env, false);
        CHECK(pool->run_here(*one, here));
    }
    pool->leave_as_guest(guest);
    CHECK(one->state() == phase::done);
    CHECK(seen.each_once());
    (void)one->drop_hold(); // the queue's: it was never there
}
