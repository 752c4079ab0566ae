// Reliability, line 15: memory fails at the n-th allocation, for every n; then something says so, nothing is
// lost and nothing leaks.

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <stdexcept>
#include <system_error>

#include "launch_fixture.hpp"
#include "loomy/exec/batch.hpp"
#include "loomy/sync/cancel_token.hpp"
#include "loomy/sync/timer.hpp"
#include "memory_that_ends.hpp"

using namespace loomy;
using namespace loomy::testing;

namespace {

// A call that may find no memory: true if it did its work.
template <class Call>
bool succeeds(Call&& call) {
    try {
        call();
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    } catch (const std::system_error&) { // no memory for a thread
        return false;
    }
}

// Does `what` with memory that fails once, earlier or later, until it has done all of it without a failure.
template <class What>
void with_every_failure(What&& what) {
    long before = 0;
    long n = -1; // that time none fails: for what is allocated once and stays, doctest's own included
    for (bool failed = true; failed; ++n) {
        REQUIRE(n < 10'000);
        CAPTURE(n);
        memory_test::fail_after(n < 0 ? 1'000'000'000 : n);
        what();
        failed = memory_test::stop_failing() || n < 0;
        if (n < 0) before = memory_test::alive.load();
        // A thread that has let go of its pool still has its own state for a moment.
        REQUIRE(eventually([&] { return memory_test::alive.load() <= before; }));
    }
    CHECK(n > 3); // or nothing was allocated, and nothing tried
}

// Ends a pool and waits until its threads have gone. Not pool_fixture, whose checks allocate.
struct plain_pool {
    explicit plain_pool(script what = {}, pool_options options = {})
        : threads(std::move(what)), core(ref<pool>::adopt(new pool(options, threads))) {}
    ~plain_pool() {
        core->drain();
        while (core->wait_for_size(0, deadline::never()) != wait_status::woken) {
        }
        (void)eventually([&] { return threads.alive == 0; });
    }
    plain_pool(const plain_pool&) = delete;
    plain_pool& operator=(const plain_pool&) = delete;

    scripted_threads threads;
    ref<pool> core;
};

struct counted_run {
    std::atomic<int>* runs;
    void operator()() const { runs->fetch_add(1); }
};

// What was not submitted keeps no hold of the queue's. One that no thread could be had for is a husk in it.
template <class Job>
submitted submit_or_drop(pool& into, Job& one) {
    submitted answer = submitted::closed;
    const bool had_memory = succeeds([&] { answer = into.submit(one); });
    if (!had_memory) answer = submitted::closed;
    if (answer == submitted::full || answer == submitted::closed) (void)one.drop_hold();
    return answer;
}

void drain(pool& which) {
    which.drain();
    while (which.wait_for_size(0, deadline::never()) != wait_status::woken) {
    }
}

// Its items are counted where they are run or refused.
class counted_batch final : public batch {
  public:
    counted_batch(std::atomic<int>* runs, std::atomic<int>* refusals, std::uint64_t size)
        : batch(size), runs_(runs), refusals_(refusals) {
        add_hold(); // the queue's
    }
    bool joins(frame&) override { return true; }
    std::uint64_t take_part(frame& where) override {
        std::uint64_t done = 0;
        for (range next = claim(1); !next.empty(); next = claim(1), ++done) {
            where.where.stats.started.add();
            runs_[next.begin].fetch_add(1);
            where.where.stats.completed.add();
            where.where.stats.finished.add();
        }
        return done;
    }
    std::uint64_t payloads_abandoned(range which, phase) override {
        for (std::uint64_t i = which.begin; i < which.end; ++i) refusals_[i].fetch_add(1);
        return which.size();
    }
    void on_abandoned(phase, bool) override {}
    void dispose() override { delete this; }

  private:
    std::atomic<int>* const runs_;
    std::atomic<int>* const refusals_;
};

bool balanced(const pool_stats& stats) {
    return stats.submitted ==
           stats.completed + stats.failed + stats.cancelled + stats.timed_out + stats.queued + stats.running;
}

} // namespace

TEST_CASE("whichever allocation fails, a job that was accepted runs once and one that was not never runs") {
    constexpr std::size_t jobs = 3 * 64; // more than a block of the queue
    with_every_failure([] {
        std::array<std::atomic<int>, jobs> runs{};
        std::array<job_handle<function_job<counted_run>>, jobs> all;
        std::array<bool, jobs> accepted{};
        bool fine = true;
        (void)succeeds([&] {
            plain_pool pool;
            (void)succeeds([&] { (void)pool.core->resize(3); });
            for (std::size_t i = 0; i < jobs; ++i) {
                if (i == jobs / 2) (void)succeeds([&] { (void)pool.core->resize(i % 3 + 1); });
                (void)succeeds([&] {
                    all[i] = make_job(counted_run{&runs[i]});
                    accepted[i] = submit_or_drop(*pool.core, *all[i]) == submitted::accepted;
                });
            }
            (void)succeeds(
                [&] { (void)pool.core->resize(2); }); // or no worker, and those that waited are refused
            drain(*pool.core);
            fine = balanced(pool.core->stats());
            for (std::size_t i = 0; i < jobs; ++i) {
                if (!accepted[i]) continue;
                const phase end = all[i]->state();
                fine = fine && (end == phase::done || end == phase::refused) &&
                       runs[i] == (end == phase::done ? 1 : 0);
            }
        });
        for (std::size_t i = 0; i < jobs; ++i) fine = fine && (accepted[i] || runs[i] == 0);
        if (!fine) memory_test::stop_failing();
        REQUIRE(fine);
    });
}

TEST_CASE("whichever allocation fails, a submitter that waits for a place gets one") {
    constexpr std::size_t jobs = 3 * 64;
    with_every_failure([] {
        std::array<std::atomic<int>, jobs> runs{};
        std::array<bool, jobs> accepted{};
        bool fine = true;
        (void)succeeds([&] {
            pool_options options;
            options.max_pending = 1;
            plain_pool pool({}, options);
            if (!succeeds([&] { (void)pool.core->resize(1); })) return;
            for (std::size_t i = 0; i < jobs; ++i) {
                (void)succeeds([&] {
                    auto one = make_job(counted_run{&runs[i]});
                    submitted answer = submitted::closed;
                    const bool had_memory = succeeds([&] {
                        while ((answer = pool.core->submit(*one)) == submitted::full) {
                            (void)pool.core->wait_for_place(deadline::never(), nullptr);
                        }
                    });
                    accepted[i] = had_memory && answer == submitted::accepted;
                    if (!had_memory) (void)one->drop_hold();
                });
            }
            drain(*pool.core);
            const pool_stats stats = pool.core->stats();
            fine = balanced(stats) && stats.queued == 0;
        });
        for (std::size_t i = 0; i < jobs; ++i) fine = fine && runs[i] <= (accepted[i] ? 1 : 0);
        if (!fine) memory_test::stop_failing();
        REQUIRE(fine);
    });
}
TEST_CASE("whichever allocation fails, a batch that was accepted has each item run or refused, once") {
    constexpr std::uint64_t size = 200, batches = 40; // entries for more than a block of the queue
    with_every_failure([] {
        std::array<std::atomic<int>, size> runs{}, refusals{};
        bool fine = true;
        (void)succeeds([&] {
            plain_pool pool;
            if (!succeeds([&] { (void)pool.core->resize(3); })) return;
            for (std::uint64_t b = 0; b < batches; ++b) {
                for (std::uint64_t i = 0; i < size; ++i) runs[i] = refusals[i] = 0;
                job_handle<counted_batch> one;
                if (!succeeds([&] { one.reset(new counted_batch(runs.data(), refusals.data(), size)); }))
                    continue;
                submitted answer = submitted::closed;
                const bool had_memory = succeeds([&] { answer = pool.core->submit(*one); });
                if (!had_memory) {
                    for (std::uint64_t i = 0; i < size; ++i) fine = fine && runs[i] == 0 && refusals[i] == 0;
                    (void)one->drop_hold();
                    continue;
                }
                if (answer == submitted::no_thread) (void)pool.core->resize(4); // which looks for one again
                (void)pool.core->wait(*one, deadline::never());
                for (std::uint64_t i = 0; i < size; ++i) fine = fine && runs[i] + refusals[i] == 1;
            }
            drain(*pool.core);
            fine = fine && balanced(pool.core->stats());
        });
        if (!fine) memory_test::stop_failing();
        REQUIRE(fine);
    });
}

TEST_CASE("whichever allocation fails, a job that waits for jobs of its own pool goes on") {
    constexpr std::size_t inners = 3 * 64;
    with_every_failure([] {
        std::array<std::atomic<int>, inners> runs{};
        std::array<bool, inners> accepted{};
        std::atomic<int> ended{0};
        bool fine = true;
        (void)succeeds([&] {
            plain_pool pool;
            if (!succeeds([&] { (void)pool.core->resize(2); })) return;
            (void)succeeds([&] {
                auto outer = make_job([&] {
                    for (std::size_t i = 0; i < inners; i += 3) {
                        job_handle<function_job<counted_run>> some[3];
                        for (std::size_t j = 0; j < 3; ++j) {
                            (void)succeeds([&] { some[j] = make_job(counted_run{&runs[i + j]}); });
                            if (!some[j]) continue;
                            accepted[i + j] = submit_or_drop(*pool.core, *some[j]) == submitted::accepted;
                        }
                        for (std::size_t j = 0; j < 3; ++j) {
                            if (accepted[i + j]) (void)pool.core->wait(*some[j], deadline::never());
                        }
                    }
                    ended.fetch_add(1);
                });
                if (submit_or_drop(*pool.core, *outer) != submitted::accepted) {
                    ended = 1;
                    return;
                }
                (void)pool.core->wait(*outer, deadline::never());
            });
            drain(*pool.core);
            fine = balanced(pool.core->stats());
        });
        for (std::size_t i = 0; i < inners; ++i) fine = fine && runs[i] == (accepted[i] ? 1 : 0);
        if (!fine) memory_test::stop_failing();
        REQUIRE(fine);
    });
}

TEST_CASE("whichever allocation fails, a deadline is scheduled and fires, or is not scheduled") {
    struct counted final : timer_entry {
        void expired() override { fired.fetch_add(1); }
        std::atomic<int> fired{0};
    };
    timer& all = timer::instance();
    REQUIRE(all.scheduled() == 0);
    std::array<counted, 100> entries; // the heap grows a few times
    int failures = 0;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        for (long n = 0;; ++n) {
            memory_test::fail_after(n);
            const bool scheduled = succeeds([&] { all.schedule(entries[i], in_ms(1'000'000)); });
            const bool failed = memory_test::stop_failing();
            REQUIRE(scheduled != failed);
            REQUIRE(all.scheduled() == i + (scheduled ? 1 : 0));
            if (scheduled) break;
            ++failures;
        }
    }
    CHECK(failures > 3);
    for (counted& one : entries) all.schedule(one, in_ms(0));
    CHECK(eventually([&] {
        for (counted& one : entries) {
            if (one.fired != 1) return false;
        }
        return true;
    }));
    REQUIRE(timer::stop(in_ms(10'000)));
}

TEST_CASE("whichever allocation fails, an abandoned job is interrupted or has ended") {
    with_every_failure([] {
        (void)succeeds([&] {
            std::atomic<int> interrupted{0};
            script what;
            std::atomic<bool> stop{false};
            what.interrupt = [&](slot&) {
                interrupted.fetch_add(1);
                stop.store(true);
            };
            pool_options options;
            options.interruptible = true;
            plain_pool pool(std::move(what), options);
            if (!succeeds([&] { (void)pool.core->resize(1); })) return;
            std::atomic<bool> begun{false}, abandoned{false};
            auto one = make_job([&] {
                begun.store(true);
                while (!abandoned.load()) std::this_thread::yield(); // or there is nothing to interrupt
                for (int i = 0; i < 200 && !stop.load(); ++i) pause_for(100);
            });
            submitted answer = submitted::closed;
            if (!succeeds([&] { answer = pool.core->submit(*one); })) (void)one->drop_hold();
            if (answer != submitted::accepted) return;
            while (!begun.load()) std::this_thread::yield();
            const bool ours = pool.core->abandon(*one, phase::cancelled);
            abandoned.store(true);
            drain(*pool.core);
            if (!ours || interrupted != 1) {
                memory_test::stop_failing();
                REQUIRE(ours);
                REQUIRE(interrupted == 1);
            }
        });
    });
}

TEST_CASE("whichever allocation fails, a launch does all of its items or has an error") {
    std::atomic<std::int64_t> touched{0};
    const test_kernel kernel([&touched](const loomy_call& call) -> int {
        if (loomy_scratch(&call, 5'000, 64) == nullptr) return LOOMY_EMEMORY;
        if (call.begin == 900) throw std::runtime_error("an exception whose description needs memory");
        touched.fetch_add(call.end - call.begin);
        return LOOMY_OK;
    });
    for (const std::int64_t total : {800, 1'000}) {
        for (const way how : {way::queued, way::shared}) {
            with_every_failure([&] {
                (void)succeeds([&] {
                    plain_pool pool;
                    if (!succeeds([&] { (void)pool.core->resize(2); })) return;
                    touched = 0;
                    const handle one(new launch(*pool.core, kernel.over(total, total / 100)));
                    native_env env;
                    const ref<cancel_token> token = cancel_token::make();
                    submitted answer = submitted::closed;
                    if (!succeeds([&] {
                            answer = how == way::queued ? launch_queued(*pool.core, *one, token)
                                                        : launch_sharing(*pool.core, *one, env, token);
                        }))
                        return;
                    if (answer != submitted::accepted) return;
                    (void)pool.core->wait(*one, deadline::never());
                    const launch_outcome outcome = one->outcome();
                    const bool fine = outcome.code == LOOMY_OK ? touched == total && total < 900
                                                               : outcome.code == LOOMY_EMEMORY || total > 900;
                    if (!fine) memory_test::stop_failing();
                    REQUIRE(fine);
                });
            });
        }
    }
}

TEST_CASE("whichever allocation fails, cancelling reaches all of a tree or changes nothing") {
    with_every_failure([] {
        (void)succeeds([&] {
            const ref<cancel_token> root = cancel_token::make(in_ms(1'000'000));
            const ref<cancel_token> child = cancel_token::make(deadline::never(), root.get());
            const ref<cancel_token> leaf = cancel_token::make(in_ms(2'000'000), child.get());
            (void)succeeds([&] { leaf->watch_deadline(); });
            const bool cancelled = succeeds([&] {
                root->cancel(cancel_reason::cancelled, "a reason that is long enough to need memory");
            });
            for (const auto& one : {root.get(), child.get(), leaf.get()}) {
                if ((one->poll() != cancel_reason::none) != cancelled) {
                    memory_test::stop_failing();
                    FAIL("half of it");
                }
            }
        });
    });
}
