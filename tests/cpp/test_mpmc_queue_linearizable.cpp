#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "loomy/base/cpu.hpp"
#include "loomy/sync/mpmc_queue.hpp"
#include "queue_dice.hpp"
#include "queue_fibers.hpp"
#include "queue_history.hpp"

using namespace queue_test;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int effort = 1;
#else
constexpr int effort = 4;
#endif

constexpr std::size_t most_threads = 4;

// Of a free-running thread inside a history.
struct thread_context {
    std::size_t number = 0;
    dice random;
};
thread_local thread_context* context = nullptr;

struct disturb {
    template <class Point>
    static void at(Point) {
#if defined(LOOMY_TEST_FIBERS)
        fibers::step();
#endif
        if (context == nullptr) return;
        switch (context->random.below(8)) {
            case 0:
                std::this_thread::yield();
                break;
            case 1:
            case 2:
                for (unsigned i = context->random.below(64); i != 0; --i) loomy::cpu_pause();
                break;
            default:
                break;
        }
    }
};

struct tally {
    int histories = 0;
    int overlapping = 0; // with operations that overlap in time
    int rejected = 0;
    int undecided = 0;
    std::string first_rejected;
};

[[nodiscard]] bool overlaps(const history& log) {
    for (std::size_t a = 0; a < log.by_thread.size(); ++a) {
        for (std::size_t b = a + 1; b < log.by_thread.size(); ++b) {
            for (const auto& x : log.by_thread[a]) {
                for (const auto& y : log.by_thread[b]) {
                    if (x.called < y.returned && y.called < x.returned) return true;
                }
            }
        }
    }
    return false;
}

struct workload {
    bool consumers_apart = false; // threads either push or pop
    int operations = 4;           // of each thread
};

// What one thread does in a history.
template <class Queue>
void play(recorder<Queue> use, std::size_t thread, workload load, dice& random) {
    int value = static_cast<int>(thread) * 100;
    for (int i = 0; i < load.operations; ++i) {
        disturb::at(0);
        std::uint32_t choice = random.below(16);
        if (load.consumers_apart) choice = thread % 2 == 0 ? choice % 8 : 8 + choice % 8;
        if (choice < 6) {
            use.push(value++);
        } else if (choice < 8) {
            const int count = 1 + static_cast<int>(random.below(3));
            use.push_many(value, count);
            value += count;
        } else if (choice < 14) {
            use.pop();
        } else {
            use.was_empty();
        }
    }
}

// Begins anywhere in a block, with a few items, and ends with a drained queue.
template <class Queue, class Threads>
void one_history(tally& result, std::size_t threads, dice& random, Threads&& run_threads) {
    Queue queue;
    history log(threads + 1);
    recorder<Queue> outside(queue, log, threads);
    for (int i = static_cast<int>(random.below(5)); i != 0; --i) {
        outside.push(1100 + i);
        outside.pop();
    }
    for (int i = static_cast<int>(random.below(3)); i != 0; --i) outside.push(1000 + i);
    run_threads(queue, log);
    while (outside.pop() != operation::none) {
    }
    outside.was_empty();
    ++result.histories;
    if (overlaps(log)) ++result.overlapping;
    switch (linearization::of(log)) {
        case linearization::exists:
            break;
        case linearization::does_not_exist:
            if (result.rejected++ == 0) result.first_rejected = to_string(log);
            break;
        case linearization::undecided:
            ++result.undecided;
            break;
    }
}

template <class Queue>
tally explore_free_running(std::size_t threads, int histories, workload load, std::size_t seed) {
    tally result;
    Queue* queue = nullptr;
    history* log = nullptr;
    std::barrier meet(static_cast<std::ptrdiff_t>(threads) + 1);
    std::vector<std::thread> pool;
    for (std::size_t t = 0; t < threads; ++t) {
        pool.emplace_back([&, t] {
            thread_context mine{t, dice(seed * 31 + t)};
            for (;;) {
                meet.arrive_and_wait();
                if (queue == nullptr) return;
                context = &mine;
                play(recorder<Queue>(*queue, *log, t), t, load, mine.random);
                context = nullptr;
                meet.arrive_and_wait();
            }
        });
    }
    // On a busy machine each meeting takes milliseconds: then fewer histories will do.
    const auto enough = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
    dice random(seed);
    for (int h = 0; h < histories && (h < 8 || std::chrono::steady_clock::now() < enough); ++h) {
        one_history<Queue>(result, threads, random, [&](Queue& fresh, history& record) {
            queue = &fresh;
            log = &record;
            meet.arrive_and_wait();
            meet.arrive_and_wait();
        });
    }
    queue = nullptr;
    meet.arrive_and_wait();
    for (auto& thread : pool) thread.join();
    return result;
}

#if defined(LOOMY_TEST_FIBERS)
template <class Queue>
tally explore_scheduled(std::size_t threads, int histories, workload load, std::size_t seed) {
    tally result;
    fibers scheduler(threads);
    dice random(seed);
    for (int h = 0; h < histories; ++h) {
        one_history<Queue>(result, threads, random, [&](Queue& queue, history& log) {
            std::vector<std::function<void()>> bodies;
            for (std::size_t t = 0; t < threads; ++t) {
                bodies.emplace_back([&, t, own = dice(random.below(1u << 30))]() mutable {
                    play(recorder<Queue>(queue, log, t), t, load, own);
                });
            }
            static constexpr unsigned rates[] = {2, 10, 50};
            scheduler.run(std::move(bodies), random.below(1u << 30), rates[random.below(3)]);
        });
    }
    return result;
}
#endif

tally require_all_linearizable(tally result) {
    CAPTURE(result.first_rejected);
    MESSAGE(result.histories, " histories, ", result.overlapping, " with overlapping operations, ",
            result.undecided, " undecided");
    REQUIRE(result.rejected == 0);
    REQUIRE(result.undecided <= result.histories / 20);
    return result;
}

template <std::size_t Cells>
using queue_of = loomy::mpmc_queue<numbered, disturb, Cells>;

// The base of queues that are wrong on purpose.
class locked_lists {
  public:
    void push(numbered* item) {
        disturb::at(0);
        {
            const std::lock_guard lock(mutex_);
            lists_[mine()].push_back(item);
        }
        disturb::at(0);
    }
    void push_many(numbered* const* items, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) push(items[i]);
    }
    bool was_empty() {
        const std::lock_guard lock(mutex_);
        for (const auto& list : lists_) {
            if (!list.empty()) return false;
        }
        return true;
    }

  protected:
    static std::size_t mine() {
#if defined(LOOMY_TEST_FIBERS)
        if (fibers::active()) return fibers::current();
#endif
        return context == nullptr ? most_threads : context->number;
    }

    std::mutex mutex_;
    std::array<std::vector<numbered*>, most_threads + 1> lists_;
};

// FIFO for the items of each producer, not across producers.
class fifo_per_producer : public locked_lists {
  public:
    numbered* try_pop() {
        disturb::at(0);
        const std::lock_guard lock(mutex_);
        for (auto& list : lists_) {
            if (list.empty()) continue;
            numbered* item = list.front();
            list.erase(list.begin());
            return item;
        }
        return nullptr;
    }
};

class lifo : public locked_lists {
  public:
    void push(numbered* item) {
        const std::lock_guard lock(mutex_);
        lists_[0].push_back(item);
    }
    void push_many(numbered* const* items, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) push(items[i]);
    }
    numbered* try_pop() {
        disturb::at(0);
        const std::lock_guard lock(mutex_);
        if (lists_[0].empty()) return nullptr;
        numbered* item = lists_[0].back();
        lists_[0].pop_back();
        return item;
    }
};

// Right but for its answer "empty", which comes from one moment for the front and another for the back.
class hasty_about_empty : public locked_lists {
  public:
    void push(numbered* item) {
        disturb::at(0);
        const std::lock_guard lock(mutex_);
        lists_[0].push_back(item);
    }
    void push_many(numbered* const* items, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) push(items[i]);
    }
    numbered* try_pop() {
        for (;;) {
            disturb::at(0);
            numbered* seen = nullptr;
            {
                const std::lock_guard lock(mutex_);
                if (lists_[0].empty()) return nullptr;
                seen = lists_[0].front();
            }
            disturb::at(0);
            const std::lock_guard lock(mutex_);
            if (lists_[0].empty() || lists_[0].front() != seen) return nullptr; // lost a race: not "empty"
            lists_[0].erase(lists_[0].begin());
            return seen;
        }
    }
};

} // namespace

TEST_CASE("the checker accepts and rejects the textbook histories") {
    using op = operation;
    const auto verdict = [](std::vector<std::vector<operation>> threads) {
        history log(threads.size());
        log.by_thread = std::move(threads);
        return linearization::of(log) == linearization::exists;
    };
    CHECK(verdict({{{op::push, 1, 0, 1}, {op::push, 2, 2, 3}, {op::pop, 1, 4, 5}, {op::pop, 2, 6, 7}}}));
    CHECK_FALSE(
        verdict({{{op::push, 1, 0, 1}, {op::push, 2, 2, 3}, {op::pop, 2, 4, 5}, {op::pop, 1, 6, 7}}}));
    // overlapping pushes may be in either order
    CHECK(verdict({{{op::push, 1, 0, 2}, {op::pop, 2, 4, 5}, {op::pop, 1, 6, 7}}, {{op::push, 2, 1, 3}}}));
    // pushes one after the other on different threads may not
    CHECK_FALSE(
        verdict({{{op::push, 1, 0, 1}, {op::pop, 2, 4, 5}, {op::pop, 1, 6, 7}}, {{op::push, 2, 2, 3}}}));
    // "empty" while something is in the queue all the time
    CHECK_FALSE(verdict({{{op::push, 1, 0, 1}, {op::pop, 1, 6, 7}}, {{op::pop, op::none, 2, 3}}}));
    CHECK(verdict({{{op::push, 1, 0, 3}, {op::pop, 1, 6, 7}}, {{op::pop, op::none, 1, 2}}}));
    // a push under way is seen, and then not
    CHECK_FALSE(verdict(
        {{{op::push, 1, 0, 7}}, {{op::was_empty, 0, 1, 2}, {op::pop, op::none, 3, 4}, {op::pop, 1, 5, 6}}}));
    // twice the same item
    CHECK_FALSE(verdict({{{op::push, 1, 0, 1}, {op::pop, 1, 2, 3}, {op::pop, 1, 4, 5}}}));
}

TEST_CASE("the search rejects a stack") {
    CHECK(explore_free_running<lifo>(2, 1000, {}, 2).rejected > 0);
}

TEST_CASE_TEMPLATE("histories of free-running threads are linearizable", Queue, queue_of<1>, queue_of<2>,
                   queue_of<3>, queue_of<loomy::queue_block_cells>) {
    for (std::size_t threads = 2; threads <= most_threads; ++threads) {
        const std::size_t seed = 100 * threads + Queue::block_cells;
        require_all_linearizable(explore_free_running<Queue>(threads, 150 * effort, {false, 4}, seed));
        require_all_linearizable(explore_free_running<Queue>(threads, 150 * effort, {true, 6}, seed + 50));
    }
}

#if defined(LOOMY_TEST_FIBERS)

TEST_CASE("the search rejects a queue that is FIFO for each producer only") {
    CHECK(explore_scheduled<fifo_per_producer>(3, 500, {}, 1).rejected > 0);
}

TEST_CASE("the search rejects a queue whose pop fails for other reasons than emptiness") {
    CHECK(explore_scheduled<hasty_about_empty>(3, 500, {}, 3).rejected > 0);
}

TEST_CASE_TEMPLATE("scheduled histories are linearizable", Queue, queue_of<1>, queue_of<2>, queue_of<3>) {
    for (std::size_t threads = 2; threads <= most_threads; ++threads) {
        const std::size_t seed = 100 * threads + Queue::block_cells;
        const auto mixed =
            require_all_linearizable(explore_scheduled<Queue>(threads, 500 * effort, {false, 4}, seed));
        REQUIRE(mixed.overlapping > mixed.histories / 2);
        require_all_linearizable(explore_scheduled<Queue>(threads, 500 * effort, {true, 5}, seed + 50));
    }
}

#endif
