#include <doctest/doctest.h>

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "loomy/sync/mpmc_queue.hpp"
#include "queue_block_count.hpp"
#include "queue_history.hpp"
#include "queue_stops.hpp"

using namespace queue_test;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::size_t stride = 3; // between the steps at which the first of two stops is made
#else
constexpr std::size_t stride = 1;
#endif

constexpr std::size_t cells = 4;
using tested_queue = loomy::mpmc_queue<numbered, stopping, cells>;
using user = recorder<tested_queue>;

// The threads of a history.
enum : std::size_t { others, first_victim, second_victim, threads_of_a_history };

struct scene {
    tested_queue queue;
    history log{threads_of_a_history};
    int next_value = 0;

    user as(std::size_t thread) { return {queue, log, thread}; }
    void push(std::size_t thread) { as(thread).push(next_value++); }
    void push_many(std::size_t thread, int count) {
        const int first = next_value;
        next_value += count;
        as(thread).push_many(first, count);
    }
    void pop_all(std::size_t thread) {
        for (int i = 0; i <= next_value; ++i) {
            if (as(thread).pop() == operation::none) return;
        }
        FAIL("the queue does not come to an end");
    }
};

struct named_action {
    const char* name;
    std::function<void(scene&, std::size_t thread)> run;
};

const std::vector<named_action> operations = {
    {"push", [](scene& s, std::size_t thread) { s.push(thread); }},
    {"push_many of two", [](scene& s, std::size_t thread) { s.push_many(thread, 2); }},
    {"push_many across blocks", [](scene& s, std::size_t thread) { s.push_many(thread, 2 * cells + 1); }},
    {"try_pop", [](scene& s, std::size_t thread) { s.as(thread).pop(); }},
    {"was_empty", [](scene& s, std::size_t thread) { s.as(thread).was_empty(); }},
    {"approx_size", [](scene& s, std::size_t) { static_cast<void>(s.queue.approx_size()); }},
};

void turn_over(scene& s, std::size_t pairs) {
    for (std::size_t i = 0; i < pairs; ++i) {
        s.push(others);
        s.as(others).pop();
    }
}

const std::vector<named_action> states = {
    {"new", [](scene&, std::size_t) {}},
    {"empty in mid-block", [](scene& s, std::size_t) { turn_over(s, 2); }},
    {"empty at the end of a block", [](scene& s, std::size_t) { turn_over(s, cells); }},
    {"one item, the last of its block",
     [](scene& s, std::size_t) {
         turn_over(s, cells - 1);
         s.push(others);
     }},
    {"two items in mid-block",
     [](scene& s, std::size_t) {
         turn_over(s, 1);
         s.push_many(others, 2);
     }},
    {"a full block", [](scene& s, std::size_t) { s.push_many(others, cells); }},
    {"several blocks", [](scene& s, std::size_t) { s.push_many(others, 2 * cells + 2); }},
    {"the consumers ahead of the producers",
     [](scene& s, std::size_t) {
         turn_over(s, 1);
         s.push(others);
         stop_tally ignored;
         // A pop that sees the item, is overtaken, and spoils the next cell. Its third step is the claim.
         stop_plan(ignored, 2, [&] { s.pop_all(others); }).run([&] { s.as(first_victim).pop(); });
     }},
};

// What happens at the first of two stops of the same operation.
const std::vector<named_action> disturbances = {
    {"an item is taken", [](scene& s, std::size_t) { s.as(others).pop(); }},
    {"all items are taken", [](scene& s, std::size_t) { s.pop_all(others); }},
    {"an item is added", [](scene& s, std::size_t) { s.push(others); }},
    {"a block is filled", [](scene& s, std::size_t) { s.push_many(others, cells); }},
    {"the queue turns over",
     [](scene& s, std::size_t) {
         turn_over(s, 3 * cells);
         s.pop_all(others);
     }},
};

// The others at work, over several blocks, until nothing is left.
void work(scene& s) {
    for (std::size_t i = 0; i < cells + 1; ++i) s.push(others);
    s.as(others).pop();
    s.push_many(others, cells + 1);
    s.as(others).was_empty();
    s.as(others).pop();
    s.pop_all(others);
    s.as(others).was_empty();
}

// With `frozen` operations under way, drained: each may hold back a block with its claim or guard, and has
// set aside what it needs itself; see "push_many across blocks".
void require_bounded_memory(scene& s, int frozen) {
    for (std::size_t i = 0; i < 6 * cells; ++i) {
        s.queue.push(item_of(4095));
        while (s.queue.try_pop() != nullptr) {
        }
    }
    REQUIRE(blocks_alive <= 2 + frozen * (1 + 3));
}

void require_sound(scene& s) {
    s.pop_all(others);
    s.as(others).was_empty();
    REQUIRE(s.queue.approx_size() == 0);
    REQUIRE(blocks_alive <= 2);
    const auto verdict = linearization::of(s.log);
    if (verdict != linearization::exists) {
        CAPTURE(to_string(s.log));
        REQUIRE(verdict == linearization::exists);
    }
}

stop_tally tally;

// A thread of its own, that stops inside an operation until it is told to go on.
class victim {
  public:
    // True: it is stopped at step number `at`. False: the operation had fewer steps and is over.
    bool start(std::size_t at, std::function<void()> operation) {
        thread_ = std::thread([this, at, operation = std::move(operation)] {
            stop_plan(tally, at, [this] { stay(); }).run(operation);
            const std::lock_guard lock(mutex_);
            finished_ = true;
            changed_.notify_all();
        });
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return frozen_ || finished_; });
        return frozen_;
    }
    void thaw() {
        {
            const std::lock_guard lock(mutex_);
            frozen_ = false;
            changed_.notify_all();
        }
        thread_.join();
    }

  private:
    void stay() {
        std::unique_lock lock(mutex_);
        frozen_ = true;
        changed_.notify_all();
        changed_.wait(lock, [this] { return !frozen_; });
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    bool frozen_ = false;
    bool finished_ = false;
    std::thread thread_;
};

} // namespace

TEST_CASE("a thread frozen at any step of any operation stops nobody") {
    std::size_t freezes = 0;
    for (const auto& operation : operations) {
        for (const auto& state : states) {
            for (std::size_t at = 0, reached = 1; reached != 0; ++at) {
                scene s;
                state.run(s, others);
                CAPTURE(operation.name);
                CAPTURE(state.name);
                CAPTURE(at);
                victim frozen;
                reached = frozen.start(at, [&] { operation.run(s, first_victim); }) ? 1 : 0;
                freezes += reached;
                work(s);
                // two threads at once, as well
                std::vector<numbered*> taken;
                std::thread consumer([&] {
                    while (taken.size() < 5 * cells) {
                        if (numbered* one = s.queue.try_pop()) {
                            if (one->value >= 2000) taken.push_back(one);
                        } else {
                            std::this_thread::yield();
                        }
                    }
                });
                for (int i = 0; i < static_cast<int>(5 * cells); ++i) s.queue.push(item_of(2000 + i));
                consumer.join();
                for (std::size_t i = 0; i < taken.size(); ++i)
                    REQUIRE(taken[i] == item_of(2000 + static_cast<int>(i)));
                frozen.thaw();
                require_sound(s);
            }
        }
    }
    MESSAGE(freezes, " freezes");
    CHECK(blocks_alive == 0);
}

TEST_CASE("whatever happens at one step of an operation, a freeze at any later one stops nobody") {
    for (const auto& operation : operations) {
        for (const auto& state : states) {
            for (const auto& disturbance : disturbances) {
                bool first_reached = true;
                for (std::size_t first = 0; first_reached; first += stride) {
                    bool second_reached = true;
                    for (std::size_t second = first; second_reached; ++second) {
                        CAPTURE(operation.name);
                        CAPTURE(state.name);
                        CAPTURE(disturbance.name);
                        CAPTURE(first);
                        CAPTURE(second);
                        scene s;
                        state.run(s, others);
                        first_reached = false;
                        stop_plan plan(tally, first, [&] {
                            first_reached = true;
                            disturbance.run(s, others);
                        });
                        plan.add(second, [&] { work(s); });
                        plan.run([&] { operation.run(s, first_victim); });
                        second_reached = plan.all_reached();
                        require_sound(s);
                    }
                }
            }
        }
    }
    CHECK(blocks_alive == 0);
}

TEST_CASE("two threads frozen at any steps of any operations stop nobody") {
    for (const auto& state : states) {
        for (const auto& first_operation : operations) {
            for (const auto& second_operation : operations) {
                bool first_reached = true;
                for (std::size_t first = 0; first_reached; first += stride) {
                    bool second_reached = true;
                    for (std::size_t second = 0; second_reached; ++second) {
                        CAPTURE(state.name);
                        CAPTURE(first_operation.name);
                        CAPTURE(second_operation.name);
                        CAPTURE(first);
                        CAPTURE(second);
                        scene s;
                        state.run(s, others);
                        first_reached = false;
                        second_reached = false;
                        stop_plan outer(tally, first, [&] {
                            first_reached = true;
                            stop_plan inner(tally, second, [&] {
                                second_reached = true;
                                work(s);
                                if (first == second) require_bounded_memory(s, 2);
                            });
                            inner.run([&] { second_operation.run(s, second_victim); });
                        });
                        outer.run([&] { first_operation.run(s, first_victim); });
                        require_sound(s);
                    }
                }
            }
        }
    }
    CHECK(blocks_alive == 0);
}

namespace {

// So many pops stopped at the end of the last block that every guard slot is taken, and then `rest`.
void with_all_guards_taken(scene& s, std::size_t taken, const std::function<void()>& rest) {
    if (taken == loomy::guard_slots<stopping>::count) {
        rest();
        return;
    }
    // Where it has its guard, the pop reads `next`.
    stop_tally steps;
    bool stopped = false;
    for (std::size_t at = 0; !stopped; ++at) {
        REQUIRE(at < 100);
        stop_plan(steps, at, [&] {
            if (steps.stopped[static_cast<std::size_t>(queue_step::settle_reads_next)] == 0) return;
            stopped = true;
            with_all_guards_taken(s, taken + 1, rest);
        }).run([&] { REQUIRE(s.queue.try_pop() == nullptr); });
    }
}

} // namespace

TEST_CASE("more threads frozen at a block boundary than there are guards stop nobody") {
    for (const auto& operation : operations) {
        bool reached = true;
        for (std::size_t at = 0; reached; ++at) {
            CAPTURE(operation.name);
            CAPTURE(at);
            scene s;
            turn_over(s, cells);
            with_all_guards_taken(s, 0, [&] {
                stop_plan plan(tally, at, [&] { work(s); });
                plan.run([&] { operation.run(s, first_victim); });
                reached = plan.all_reached();
                s.pop_all(others);
            });
            require_sound(s);
        }
    }
    CHECK(blocks_alive == 0);
}

// Last in the file: doctest runs the cases in the order of their lines.
TEST_CASE("the tests above stopped at every step there is") {
    MESSAGE(tally.total, " stops");
    for (std::size_t step = 0; step < step_count; ++step) {
        CAPTURE(step);
        CHECK(tally.stopped[step] > 0);
    }
}
