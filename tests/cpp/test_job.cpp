#include "loomy/exec/job.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "loomy/sync/parker.hpp"
#include "pool_disturbance.hpp"
#include "pool_race.hpp"

using namespace loomy;
using loomy::testing::pause_for;
using loomy::testing::race;
using loomy::testing::rounds_of;
using loomy::testing::slowness;
using loomy::testing::watchdog;

namespace {

constexpr int rounds = rounds_of(10'000);

struct counts {
    std::atomic<int> disposed{0};
    std::atomic<int> destroyed{0};
};

// Pending, with the queue's hold, owned by whoever made it.
class probe final : public job {
  public:
    explicit probe(counts& into) : into_(into) { add_hold(); }
    ~probe() { into_.destroyed.fetch_add(1); }
    bool run(frame&) override { return true; }
    void on_abandoned(phase, bool) override {}
    void dispose() override {
        into_.disposed.fetch_add(1);
        delete this;
    }

    int result = 0; // not atomic: the runner writes it before it publishes

  private:
    counts& into_;
};

void drop_hold(job& one) {
    if (one.drop_hold()) one.dispose();
}
void drop_owner(job& one) {
    if (one.drop_owner()) one.dispose();
}
// As whoever abandoned it does: pool::after_abandon without the books.
void follow_up(job& one) {
    if ((one.word() & (job::waiting | job::calling)) != 0) one.tell_listeners();
    drop_hold(one);
}
void end_run(job& one) {
    if (one.publish().disposable) one.dispose();
}

struct callback : listener {
    explicit callback(std::vector<int>* order_ = nullptr, int number_ = 0) : order(order_), number(number_) {
        call = [](listener& self) {
            auto& me = static_cast<callback&>(self);
            if (me.order != nullptr) me.order->push_back(me.number);
            me.calls.fetch_add(1);
        };
    }
    std::atomic<int> calls{0};
    std::vector<int>* order;
    int number;
};

} // namespace

TEST_CASE("a job goes from pending to running to done") {
    counts seen;
    auto* one = new probe(seen);
    CHECK(one->state() == phase::pending);
    CHECK_FALSE(one->finished());
    CHECK(one->claim_popped() == job::popped::claimed);
    CHECK(one->state() == phase::running);
    const job::published end = one->publish();
    CHECK(end.stands);
    CHECK_FALSE(end.disposable);
    CHECK(one->state() == phase::done);
    CHECK(one->finished());
    CHECK(one->drop_owner());
    one->dispose();
    CHECK(seen.disposed == 1);
}

TEST_CASE("a final answer is never changed") {
    for (const phase as : {phase::cancelled, phase::timed_out, phase::refused}) {
        counts seen;
        auto* one = new probe(seen);
        CHECK(one->abandon(as) == job::abandoned::in_queue);
        CHECK(one->state() == as);
        CHECK(one->abandon(phase::cancelled) == job::abandoned::no);
        CHECK(one->abandon(phase::timed_out) == job::abandoned::no);
        CHECK_FALSE(one->settle());
        CHECK_FALSE(one->request_stop());
        CHECK_FALSE(one->claim_in_queue());
        CHECK(one->state() == as);
        drop_hold(*one); // abandon's
        CHECK(one->claim_popped() == job::popped::husk);
        drop_owner(*one);
        CHECK(seen.disposed == 1);
    }
}

TEST_CASE("a job abandoned while it runs keeps that answer and the runner learns of it") {
    counts seen;
    auto* one = new probe(seen);
    REQUIRE(one->claim_popped() == job::popped::claimed);
    CHECK(one->abandon(phase::cancelled, true) == job::abandoned::no); // only if queued
    CHECK(one->abandon(phase::timed_out) == job::abandoned::while_running);
    CHECK((one->word() & job::stopping) != 0);
    drop_hold(*one);
    const job::published end = one->publish();
    CHECK_FALSE(end.stands);
    CHECK(one->state() == phase::timed_out);
    drop_owner(*one);
    CHECK(seen.disposed == 1);
}

TEST_CASE("a settled job cannot be abandoned any more") {
    counts seen;
    auto* one = new probe(seen);
    CHECK_FALSE(one->settle()); // not running yet
    REQUIRE(one->claim_popped() == job::popped::claimed);
    CHECK(one->settle());
    CHECK_FALSE(one->settle());
    CHECK(one->abandon(phase::cancelled) == job::abandoned::no);
    CHECK_FALSE(one->finished());
    CHECK(one->publish().stands);
    CHECK(one->state() == phase::done);
    drop_owner(*one);
}

TEST_CASE("a running job can be asked to stop without being abandoned") {
    counts seen;
    auto* one = new probe(seen);
    CHECK_FALSE(one->request_stop());
    REQUIRE(one->claim_popped() == job::popped::claimed);
    CHECK(one->request_stop());
    CHECK((one->word() & job::stopping) != 0);
    CHECK(one->state() == phase::running);
    CHECK(one->publish().stands);
    CHECK_FALSE(one->request_stop());
    drop_owner(*one);
}

TEST_CASE(
    "what was claimed beside the queue is a husk to whoever pops it, and the last to go disposes of it") {
    SUBCASE("popped while its owner is there") {
        counts seen;
        auto* one = new probe(seen);
        REQUIRE(one->claim_in_queue());
        CHECK_FALSE(one->claim_in_queue());
        CHECK(one->claim_popped() == job::popped::husk);
        CHECK_FALSE(one->publish().disposable);
        CHECK(seen.disposed == 0);
        drop_owner(*one);
        CHECK(seen.disposed == 1);
    }
    SUBCASE("popped after its owner has let go") {
        counts seen;
        auto* one = new probe(seen);
        REQUIRE(one->claim_in_queue());
        CHECK_FALSE(one->publish().disposable); // the queue's hold
        CHECK_FALSE(one->drop_owner());
        CHECK(seen.disposed == 0);
        CHECK(one->claim_popped() == job::popped::disposable);
        one->dispose();
        CHECK(seen.disposed == 1);
    }
    SUBCASE("published last") {
        counts seen;
        auto* one = new probe(seen);
        REQUIRE(one->claim_in_queue());
        CHECK(one->claim_popped() == job::popped::husk);
        CHECK_FALSE(one->drop_owner());
        CHECK(one->publish().disposable);
        one->dispose();
        CHECK(seen.destroyed == 1);
    }
}

TEST_CASE("of a claim from the queue, a claim beside it and an abandonment exactly one wins") {
    counts seen;
    probe* one = nullptr;
    job::popped popped{};
    bool beside = false;
    job::abandoned gone{};
    int wrong = 0;
    int won[3] = {0, 0, 0};
    race(
        rounds, [&] { one = new probe(seen); },
        {[&] { popped = one->claim_popped(); }, [&] { beside = one->claim_in_queue(); },
         [&] { gone = one->abandon(phase::cancelled, true); }},
        [&] {
            const bool winners[3] = {popped == job::popped::claimed, beside,
                                     gone == job::abandoned::in_queue};
            int total = 0;
            for (int i = 0; i < 3; ++i) {
                total += winners[i];
                won[i] += winners[i];
            }
            if (total != 1 || one->state() != (winners[2] ? phase::cancelled : phase::running)) ++wrong;
            if (winners[2]) {
                drop_hold(*one);
            } else {
                end_run(*one);
            }
            drop_owner(*one);
        });
    CHECK(wrong == 0);
    CHECK(seen.disposed == rounds);             // with every hold accounted for
    for (const int wins : won) CHECK(wins > 0); // otherwise there was no race
}

TEST_CASE("of two abandonments one wins") {
    counts seen;
    probe* one = nullptr;
    bool first = false, second = false;
    int wrong = 0;
    race(
        rounds, [&] { one = new probe(seen); },
        {[&] { first = one->abandon(phase::cancelled) != job::abandoned::no; },
         [&] { second = one->abandon(phase::timed_out) != job::abandoned::no; }},
        [&] {
            wrong += first == second || one->state() != (first ? phase::cancelled : phase::timed_out);
            drop_hold(*one);
            wrong += one->claim_popped() != job::popped::husk;
            drop_owner(*one);
        });
    CHECK(wrong == 0);
    CHECK(seen.disposed == rounds);
}

TEST_CASE("of settling and abandoning one wins") {
    counts seen;
    probe* one = nullptr;
    bool settled = false, gone = false;
    int wrong = 0;
    race(
        rounds,
        [&] {
            one = new probe(seen);
            (void)one->claim_popped();
        },
        {[&] { settled = one->settle(); },
         [&] { gone = one->abandon(phase::cancelled) != job::abandoned::no; }},
        [&] {
            wrong += settled == gone;
            if (gone) drop_hold(*one);
            wrong += one->publish().stands != settled;
            drop_owner(*one);
        });
    CHECK(wrong == 0);
    CHECK(seen.disposed == rounds);
}

TEST_CASE("a job whose holders and owner let go at once is disposed of exactly once") {
    counts seen;
    probe* one = nullptr;
    int expected = 0, wrong = 0;
    race(
        rounds,
        [&] {
            one = new probe(seen);
            one->add_hold();
            ++expected;
        },
        {[&] { drop_owner(*one); }, [&] { drop_hold(*one); }, [&] { drop_hold(*one); }},
        [&] { wrong += seen.disposed != expected; });
    CHECK(wrong == 0);
    CHECK(seen.destroyed == rounds);
}

TEST_CASE("whoever sees a job finished sees its result, and may destroy it at once") {
    counts seen;
    probe* one = nullptr;
    int wrong = 0;
    race(
        rounds,
        [&] {
            one = new probe(seen);
            (void)one->claim_popped();
        },
        {[&] {
             one->result = 42;
             end_run(*one);
         },
         [&] {
             while (!one->finished()) cpu_pause();
             wrong += one->result != 42;
             drop_owner(*one);
         }},
        [] {});
    CHECK(wrong == 0);
    CHECK(seen.disposed == rounds);
}

TEST_CASE("of publishing and abandoning one wins, and what the runner wrote is seen by whoever abandoned") {
    counts seen;
    probe* one = nullptr;
    job::published end{};
    job::abandoned gone{};
    int wrong = 0, stood = 0;
    race(
        rounds,
        [&] {
            one = new probe(seen);
            (void)one->claim_popped();
        },
        {[&] { end = one->publish(); }, [&] { gone = one->abandon(phase::timed_out); }},
        [&] {
            stood += end.stands;
            wrong += end.stands == (gone != job::abandoned::no);
            wrong += one->state() != (end.stands ? phase::done : phase::timed_out);
            if (!end.stands) drop_hold(*one);
            drop_owner(*one);
        });
    CHECK(wrong == 0);
    CHECK(seen.disposed == rounds);
    CHECK(stood > 0);
    CHECK(stood < rounds);
}

TEST_CASE("callbacks are called once, in the order in which they were added") {
    counts seen;
    auto* one = new probe(seen);
    std::vector<int> order;
    callback first(&order, 1), second(&order, 2), third(&order, 3);
    CHECK(one->listen(first));
    CHECK(one->listen(second));
    CHECK(one->listen(third));
    CHECK((one->word() & job::calling) != 0);
    CHECK((one->word() & job::waiting) == 0);
    CHECK(one->stop_listening(second));
    CHECK_FALSE(one->stop_listening(second));
    REQUIRE(one->claim_popped() == job::popped::claimed);
    CHECK(one->publish().stands);
    CHECK(order == std::vector<int>{1, 3});
    callback late;
    CHECK_FALSE(one->listen(late));
    CHECK(late.calls == 0);
    CHECK_FALSE(one->stop_listening(first));
    drop_owner(*one);
}

TEST_CASE("a callback may drop the job's owner") {
    counts seen;
    auto* one = new probe(seen);
    struct dropping : listener {
        explicit dropping(job& which_) : which(which_) {
            call = [](listener& self) { drop_owner(static_cast<dropping&>(self).which); };
        }
        job& which;
    } last(*one);
    REQUIRE(one->listen(last));
    REQUIRE(one->claim_popped() == job::popped::claimed);
    end_run(*one);
    CHECK(seen.disposed == 1);
}

TEST_CASE("a callback added while the job completes is called once, or refused") {
    counts seen;
    probe* one = nullptr;
    std::unique_ptr<callback> early, late;
    bool added = false;
    int wrong = 0, refused = 0;
    race(
        rounds,
        [&] {
            one = new probe(seen);
            early = std::make_unique<callback>();
            late = std::make_unique<callback>();
            if (one->claim_popped() != job::popped::claimed || !one->listen(*early)) ++wrong;
        },
        {[&] { end_run(*one); }, [&] { added = one->listen(*late); }},
        [&] {
            wrong += early->calls != 1 || late->calls != (added ? 1 : 0);
            refused += !added;
            drop_owner(*one);
        });
    CHECK(wrong == 0);
    CHECK(seen.disposed == rounds);
    CHECK(refused > 0);
    CHECK(refused < rounds);
}

TEST_CASE("a callback that is taken back is called once if that came too late, and never if it did not") {
    counts seen;
    probe* one = nullptr;
    std::unique_ptr<callback> node;
    bool removed = false;
    int wrong = 0;
    race(
        rounds,
        [&] {
            one = new probe(seen);
            node = std::make_unique<callback>();
            if (one->claim_popped() != job::popped::claimed || !one->listen(*node)) ++wrong;
        },
        {[&] { end_run(*one); }, [&] { removed = one->stop_listening(*node); }},
        [&] {
            wrong += node->calls != (removed ? 0 : 1);
            drop_owner(*one);
        });
    CHECK(wrong == 0);
}

TEST_CASE(
    "of publishing and abandoning a job that is listened to one tells, once, and the job can go at once") {
    counts seen;
    probe* one = nullptr;
    std::unique_ptr<callback> node;
    bool gone = false;
    int wrong = 0;
#if defined(__linux__)
    loomy::testing::disturbance everywhere;
    const auto be_held_up = [&] { // anywhere: between the last two accesses of whoever loses
        static thread_local const void* here = nullptr;
        if (std::exchange(here, &everywhere) != &everywhere) everywhere.include_this_thread();
    };
#else
    const auto be_held_up = [] {};
#endif
    const auto prepare = [&] {
        one = new probe(seen);
        one->add_hold(); // the owner's stand-in: the third party lets go of it at any time
        node = std::make_unique<callback>();
        if (one->claim_popped() != job::popped::claimed || !one->listen(*node)) ++wrong;
    };
    race(rounds, prepare,
         {[&] {
              be_held_up();
              end_run(*one);
          },
          [&] {
              gone = one->abandon(phase::cancelled) != job::abandoned::no;
              if (gone) follow_up(*one);
              drop_hold(*one);
              drop_owner(*one);
          }},
         [&] { wrong += node->calls != 1; });
    CHECK(wrong == 0);
    CHECK(seen.disposed == rounds);
}

TEST_CASE("a waiter is woken by a completion, a timeout or neither, and its frame may go at once") {
    watchdog guard("waiters against completions and timeouts");
    counts seen;
    probe* one = nullptr;
    int wrong = 0;
    std::mt19937 random(7);
    std::int64_t patience_ns = 0;
    race(
        rounds / 2,
        [&] {
            one = new probe(seen);
            (void)one->claim_popped();
            patience_ns = static_cast<std::int64_t>(random() % 40'000);
            guard.tick();
        },
        {[&] {
             pause_for(static_cast<unsigned>(random() % 500));
             one->result = 1;
             end_run(*one);
         },
         [&] {
             {
                 auto sleeper = std::make_unique<parker>(); // freed at once: a late wake would be seen
                 listener node;
                 node.waiter = sleeper.get();
                 if (one->listen(node)) {
                     (void)sleeper->park(deadline::after(patience_ns));
                     one->stop_listening(node);
                 }
             }
             while (!one->finished()) cpu_pause();
             wrong += one->result != 1;
             drop_owner(*one);
         }},
        [] {});
    CHECK(wrong == 0);
    CHECK(seen.disposed == rounds / 2);
}

TEST_CASE("many waiters of one job are all woken") {
    watchdog guard("many waiters");
    constexpr int waiters = 16;
    for (int round = 0; round < 200 / slowness; ++round) {
        counts seen;
        auto* one = new probe(seen);
        (void)one->claim_popped();
        callback told;
        REQUIRE(one->listen(told));
        std::atomic<int> woken{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < waiters; ++i) {
            threads.emplace_back([&] {
                parker sleeper;
                listener node;
                node.waiter = &sleeper;
                if (one->listen(node)) {
                    (void)sleeper.park();
                    one->stop_listening(node);
                }
                if (one->finished()) woken.fetch_add(1);
            });
        }
        pause_for(static_cast<unsigned>(round) * 50);
        end_run(*one);
        for (auto& thread : threads) thread.join();
        CHECK(woken == waiters);
        CHECK(told.calls == 1);
        drop_owner(*one);
        guard.tick();
    }
}
