// No wake-up is lost though threads are held up at each step of the sleep/wake protocol (cpp/README.md). This
// program has a core of its own, built with LOOMY_INJECT from the same sources.

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "pool_fixture.hpp"
#include "pool_race.hpp"
#include "wake_hold_ups.hpp"
#include "wake_rounds.hpp"

using namespace loomy;
using namespace loomy::testing;
using wake_test::wake_step;

namespace {

struct setting {
    std::uint32_t workers;
    std::int64_t spin_ns = 0;
    int submitters = 1;
    bool borrow = false;  // a caller takes slots and gives them back meanwhile
    bool resize = false;  // workers join and leave meanwhile
    bool unready = false; // every other worker can run nothing
    bool nested = false;  // a job waits, inside itself, for another
};

const std::vector<setting> settings = {
    {.workers = 1},
    {.workers = 1, .borrow = true},
    {.workers = 1, .spin_ns = -1, .submitters = 2},
    {.workers = 2, .nested = true},
    {.workers = 2, .submitters = 2, .borrow = true},
    {.workers = 3, .resize = true},
    {.workers = 4, .unready = true, .nested = true},
    {.workers = 8, .spin_ns = -1, .submitters = 2, .resize = true},
    {.workers = 16, .submitters = 2, .unready = true},
    {.workers = 32, .submitters = 3},
};

// Another step at which threads are held up for long, if there is one already.
void another_step_too(std::mt19937& random) {
    if (wake_test::long_at == wake_step::count_) return;
    wake_test::long_at_too = static_cast<wake_step>(random() % wake_test::step_count);
}

// Each submitter waits for its own before it goes on, so nothing makes up for a wake-up that was lost.
void submit_and_wait(pool& into, const setting& how, int rounds, std::uint32_t seed, watchdog& guard) {
    std::mt19937 random(seed);
    std::atomic<int> ran{0};
    int submissions = 0;
    for (int round = 0; round < rounds; ++round) {
        for (auto n = random() % 3 + 1; n > 0; --n, ++submissions) {
            if (how.nested && random() % 2 == 0) {
                throw_in(into, [&] {
                    auto inner = make_job([&] { wake_test::doze(); });
                    if (into.submit(*inner) != submitted::accepted) std::abort();
                    pause_for(200); // for another worker to take it
                    (void)into.wait(*inner, deadline::never());
                    ran.fetch_add(1);
                });
            } else {
                throw_in(into, [&] { ran.fetch_add(1); });
            }
        }
        spin_until([&] { return ran.load() == submissions; });
        another_step_too(random);
        random_gap(random);
        guard.tick();
    }
}

void run(const setting& how, int rounds, watchdog& guard) {
    std::atomic<std::uint32_t> asked{0};
    script what;
    what.ready = [&](slot& self) {
        asked.fetch_add(1);
        return !how.unready || self.id % 2 == 1;
    };
    pool_options options = spinning(how.spin_ns);
    options.eager_threads = how.unready;
    pool_fixture pool(how.workers, options, what);
    // Before the first of them is ready, jobs are refused.
    if (how.unready) REQUIRE(eventually([&] { return asked.load() >= how.workers; }));
    std::atomic<bool> over{false};
    std::vector<std::thread> others;
    if (how.borrow) {
        others.emplace_back([&] {
            for (int turn = 0; !over; ++turn) {
                slot* const mine = turn % 4 == 0 ? pool->try_borrow() : pool->try_borrow_to_share();
                if (mine != nullptr) pool->give_back(*mine);
                pause_for(50);
            }
        });
    }
    if (how.resize) {
        others.emplace_back([&] {
            for (std::uint32_t turn = 0; !over; ++turn) {
                if (!pool->resize(how.workers - turn % 2)) std::abort();
                pause_for(500);
            }
        });
    }
    std::vector<std::thread> submitters;
    for (int s = 0; s < how.submitters; ++s) {
        submitters.emplace_back([&, seed = static_cast<std::uint32_t>(s) + how.workers] {
            submit_and_wait(*pool, how, rounds, seed, guard);
        });
    }
    for (auto& one : submitters) one.join();
    over = true;
    for (auto& one : others) one.join();
}

// One worker, which waits in a job for a job of another pool, which waits for one that only that worker can
// run.
void tell_helpers(int rounds, watchdog& guard) {
    pool_fixture home(1, spinning(0));
    pool_fixture other(1, spinning(0));
    std::mt19937 random(1);
    for (int round = 0; round < rounds; ++round) {
        std::atomic<bool> waiting{false}, ran{false};
        auto outer = make_job([&] {
            auto slow = make_job([&] { spin_until([&] { return ran.load(); }); });
            if (other->submit(*slow) != submitted::accepted) std::abort();
            waiting = true;
            (void)other->wait(*slow, deadline::never());
        });
        if (home->submit(*outer) != submitted::accepted) std::abort();
        spin_until([&] { return waiting.load(); });
        another_step_too(random);
        random_gap(random);
        throw_in(*home, [&] { ran = true; });
        (void)home->wait(*outer, deadline::never());
        guard.tick();
    }
}

// A caller takes the only slot and gives it back once, so that it does not look again after the submitter
// has.
void submit_against_a_borrower(int rounds, watchdog& guard) {
    pool_fixture pool(1, spinning(0));
    std::atomic<int> ran{0};
    int expected = 0;
    std::mt19937 random(1);
    race(
        rounds,
        [&] {
            another_step_too(random);
            ++expected;
        },
        {[&] { throw_in(*pool, [&] { ran.fetch_add(1); }); },
         [&] {
             if (slot* const mine = pool->try_borrow_to_share()) pool->give_back(*mine);
         }},
        [&] {
            spin_until([&] { return ran.load() == expected; });
            guard.tick();
        });
}

void run_all(int rounds, watchdog& guard) {
    for (const setting& how : settings) run(how, rounds, guard);
    tell_helpers(rounds, guard);
    submit_against_a_borrower(2 * rounds, guard);
}

} // namespace

TEST_CASE("no wake-up is lost when threads are held up for a moment at any step") {
    watchdog guard("threads held up at any step", wake_up_patience);
    run_all(take_long() ? 20'000 : 300, guard);
}

TEST_CASE("no wake-up is lost when threads are held up for long at one step, or two") {
    watchdog guard("threads held up at one step", wake_up_patience);
    for (std::size_t step = 0; step < wake_test::step_count; ++step) {
        wake_test::long_at = static_cast<wake_step>(step);
        run_all(take_long() ? 1'000 : 15, guard);
    }
    wake_test::long_at = wake_test::long_at_too = wake_step::count_;
}

TEST_CASE("each step of the protocol was reached") {
    for (std::size_t step = 0; step < wake_test::step_count; ++step) {
        CAPTURE(step);
        CHECK(wake_test::reached[step] > 0);
    }
}
