#include "loomy/sync/mpmc_queue.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include "queue_block_count.hpp"

using loomy::mpmc_queue;
using loomy::no_step;
using queue_test::allocations_left;
using queue_test::blocks_alive;
using queue_test::blocks_made;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int effort = 1;
#else
constexpr int effort = 10;
#endif

struct item {
    std::size_t producer = 0;
    std::size_t number = 0;
};

struct looks_at_the_tail {
    static void at(loomy::queue_step step) noexcept {
        if (step == loomy::queue_step::pop_reads_tail || step == loomy::queue_step::settle_reads_tail)
            ++count;
    }
    inline static int count = 0;
};

template <std::size_t Cells>
using queue_of = mpmc_queue<item, no_step, Cells>;

std::vector<item> items_of(std::size_t count, std::size_t producer = 0) {
    std::vector<item> items(count);
    for (std::size_t i = 0; i < count; ++i) items[i] = {producer, i};
    return items;
}

std::vector<item*> pointers_to(std::vector<item>& items) {
    std::vector<item*> pointers;
    for (auto& one : items) pointers.push_back(&one);
    return pointers;
}

// A queue whose indexes stand `offset` cells into a block.
template <class Queue>
void advance(Queue& queue, std::size_t offset) {
    item dummy;
    for (std::size_t i = 0; i < offset; ++i) {
        queue.push(&dummy);
        REQUIRE(queue.try_pop() == &dummy);
    }
}

template <class Queue>
void require_drained(Queue& queue) {
    REQUIRE(queue.try_pop() == nullptr);
    REQUIRE(queue.was_empty());
    REQUIRE(queue.approx_size() == 0);
    REQUIRE(blocks_alive <= 2);
}

} // namespace

TEST_CASE("a new queue is empty and has one block") {
    mpmc_queue<item> queue;
    CHECK(blocks_alive == 1);
    require_drained(queue);
    CHECK(blocks_alive == 1);
}

TEST_CASE_TEMPLATE("items leave in the order they came, from every offset and across blocks", Queue,
                   queue_of<1>, queue_of<2>, queue_of<3>, queue_of<8>, mpmc_queue<item>) {
    const std::size_t cells = Queue::block_cells;
    for (std::size_t offset = 0; offset <= cells; offset += cells > 8 ? 31 : 1) {
        Queue queue;
        advance(queue, offset);
        for (std::size_t count : {std::size_t{1}, cells - 1, cells, cells + 1, 3 * cells + 1}) {
            auto items = items_of(count);
            for (std::size_t i = 0; i < count; ++i) {
                queue.push(&items[i]);
                REQUIRE_FALSE(queue.was_empty());
                REQUIRE(queue.approx_size() == i + 1);
            }
            for (std::size_t i = 0; i < count; ++i) {
                REQUIRE_FALSE(queue.was_empty());
                REQUIRE(queue.approx_size() == count - i);
                REQUIRE(queue.try_pop() == &items[i]);
            }
            require_drained(queue);
        }
    }
    CHECK(blocks_alive == 0);
}

TEST_CASE_TEMPLATE("push_many keeps the order, for every size and offset", Queue, queue_of<1>, queue_of<2>,
                   queue_of<3>, queue_of<8>) {
    for (std::size_t offset = 0; offset <= Queue::block_cells; ++offset) {
        Queue queue;
        advance(queue, offset);
        for (std::size_t count = 0; count <= 3 * Queue::block_cells + 2; ++count) {
            auto items = items_of(count + 2);
            auto pointers = pointers_to(items);
            queue.push(pointers.front());
            queue.push_many(pointers.data() + 1, count);
            queue.push(pointers.back());
            REQUIRE(queue.approx_size() == count + 2);
            for (item* expected : pointers) REQUIRE(queue.try_pop() == expected);
            require_drained(queue);
        }
    }
}

TEST_CASE("consumers look at the tail once for what they find there, not once for each item") {
    constexpr int count = 1'000;
    std::vector<item> items = items_of(count);
    mpmc_queue<item, looks_at_the_tail> queue;
    for (item& one : items) queue.push(&one);
    looks_at_the_tail::count = 0;
    for (item& one : items) CHECK(queue.try_pop() == &one);
    CHECK(looks_at_the_tail::count <=
          3 * (count / static_cast<int>(loomy::queue_block_cells) + 1)); // two at its end
    CHECK(queue.try_pop() == nullptr);
}

TEST_CASE("push_many of ten blocks") {
    mpmc_queue<item> queue;
    auto items = items_of(10 * queue.block_cells);
    auto pointers = pointers_to(items);
    queue.push_many(pointers.data(), pointers.size());
    for (item* expected : pointers) REQUIRE(queue.try_pop() == expected);
    require_drained(queue);
}

TEST_CASE("the same pointer can be in the queue many times") {
    mpmc_queue<item> queue;
    item one;
    for (int i = 0; i < 1000; ++i) queue.push(&one);
    for (int i = 0; i < 1000; ++i) REQUIRE(queue.try_pop() == &one);
    require_drained(queue);
}

TEST_CASE("a queue that stays short allocates two blocks in all") {
    const long before = blocks_made;
    mpmc_queue<item> queue;
    advance(queue, 100 * queue.block_cells);
    CHECK(blocks_made - before <= 2);
}

TEST_CASE("memory follows the backlog, up and down") {
    mpmc_queue<item> queue;
    item one;
    for (std::size_t i = 0; i < 100 * queue.block_cells; ++i) queue.push(&one);
    CHECK(blocks_alive <= 101);
    for (std::size_t i = 0; i < 100 * queue.block_cells; ++i) REQUIRE(queue.try_pop() == &one);
    require_drained(queue);
}

TEST_CASE("a queue destroyed with items in it frees its blocks and leaves the items alone") {
    auto items = items_of(20);
    for (std::size_t count = 0; count < 20; ++count) {
        queue_of<4> queue;
        for (std::size_t i = 0; i < count; ++i) queue.push(&items[i]);
        for (std::size_t i = 0; i < count / 2; ++i) REQUIRE(queue.try_pop() == &items[i]);
    }
    CHECK(blocks_alive == 0);
    CHECK(items[19].number == 19);
}

TEST_CASE("a constructor that finds no memory throws and leaks nothing") {
    allocations_left = 0;
    CHECK_THROWS_AS(queue_of<4>{}, std::bad_alloc);
    allocations_left = -1;
    CHECK(blocks_alive == 0);
}

TEST_CASE("a push that finds no memory leaves the queue as it was") {
    for (long allowed = 0; allowed < 5; ++allowed) {
        queue_of<3> queue;
        auto items = items_of(20);
        std::deque<item*> expected;
        allocations_left = allowed;
        int failed = 0;
        for (auto& one : items) {
            try {
                queue.push(&one);
                expected.push_back(&one);
            } catch (const std::bad_alloc&) {
                ++failed;
            }
            REQUIRE(queue.approx_size() == expected.size());
        }
        REQUIRE(failed == static_cast<int>(20 - 3 * (allowed + 1)));
        allocations_left = -1;
        queue.push(&items[0]); // works again
        expected.push_back(&items[0]);
        for (item* one : expected) REQUIRE(queue.try_pop() == one);
        require_drained(queue);
    }
    CHECK(blocks_alive == 0);
}

TEST_CASE("push_many that finds no memory pushes nothing, whichever allocation fails") {
    for (std::size_t count = 1; count < 14; ++count) {
        for (std::size_t offset = 0; offset <= 3; ++offset) {
            auto items = items_of(count);
            auto pointers = pointers_to(items);
            bool worked = false;
            for (long allowed = 0; !worked; ++allowed) {
                REQUIRE(allowed < 10);
                {
                    queue_of<3> queue;
                    advance(queue, offset);
                    item first;
                    queue.push(&first);
                    allocations_left = allowed;
                    try {
                        queue.push_many(pointers.data(), count);
                        worked = true;
                    } catch (const std::bad_alloc&) {
                    }
                    allocations_left = -1;
                    REQUIRE(queue.approx_size() == (worked ? count + 1 : 1));
                    REQUIRE(queue.try_pop() == &first);
                    if (worked) {
                        for (item* one : pointers) REQUIRE(queue.try_pop() == one);
                    }
                    require_drained(queue);
                }
                REQUIRE(blocks_alive == 0);
            }
        }
    }
}

namespace {

// Every item once; those of one producer in order at each consumer.
template <class Queue>
void exactly_once(std::size_t producers, std::size_t consumers, std::size_t each, std::size_t run) {
    Queue queue;
    std::vector<std::vector<item>> items;
    for (std::size_t p = 0; p < producers; ++p) items.push_back(items_of(each, p));
    std::vector<std::vector<item*>> taken(consumers);
    std::atomic<std::size_t> left{producers * each};
    std::barrier start(static_cast<std::ptrdiff_t>(producers + consumers));
    std::vector<std::thread> threads;
    for (std::size_t p = 0; p < producers; ++p) {
        threads.emplace_back([&, p] {
            auto pointers = pointers_to(items[p]);
            start.arrive_and_wait();
            for (std::size_t i = 0; i < each;) {
                // 1 item by push, then 2 .. run items by push_many, and so on
                const std::size_t length = std::min(1 + i % run, each - i);
                if (length == 1) {
                    queue.push(pointers[i]);
                } else {
                    queue.push_many(&pointers[i], length);
                }
                i += length;
            }
        });
    }
    for (std::size_t c = 0; c < consumers; ++c) {
        threads.emplace_back([&, c] {
            start.arrive_and_wait();
            while (left.load(std::memory_order_relaxed) != 0) {
                if (item* one = queue.try_pop()) {
                    taken[c].push_back(one);
                    left.fetch_sub(1, std::memory_order_relaxed);
                } else {
                    std::this_thread::yield();
                }
            }
        });
    }
    for (auto& thread : threads) thread.join();
    require_drained(queue);
    std::vector<std::vector<int>> seen(producers, std::vector<int>(each));
    for (const auto& list : taken) {
        std::vector<std::size_t> next(producers, 0);
        for (const item* one : list) {
            REQUIRE(one->number >= next[one->producer]);
            next[one->producer] = one->number + 1;
            ++seen[one->producer][one->number];
        }
    }
    for (const auto& counts : seen) {
        for (int times : counts) REQUIRE(times == 1);
    }
}

} // namespace

TEST_CASE_TEMPLATE("every item is taken exactly once", Queue, queue_of<1>, queue_of<3>, queue_of<16>,
                   mpmc_queue<item>) {
    for (std::size_t producers : {1u, 2u, 4u, 8u}) {
        for (std::size_t consumers : {1u, 2u, 4u, 8u}) {
            CAPTURE(producers);
            CAPTURE(consumers);
            for (std::size_t run : {1u, 7u}) {
                exactly_once<Queue>(producers, consumers, effort * 2000 / producers, run);
            }
        }
    }
    CHECK(blocks_alive == 0);
}

TEST_CASE("pushes of different threads that happen one after the other leave in that order") {
    queue_of<3> queue;
    constexpr std::size_t rounds = 2000 * effort;
    auto items = items_of(rounds);
    std::atomic<std::size_t> turn{0};
    const auto pusher = [&](std::size_t parity) {
        for (std::size_t i = parity; i < rounds; i += 2) {
            while (turn.load(std::memory_order_acquire) != i) std::this_thread::yield();
            queue.push(&items[i]);
            turn.store(i + 1, std::memory_order_release);
        }
    };
    std::thread even(pusher, 0);
    std::thread odd(pusher, 1);
    for (std::size_t expected = 0; expected < rounds;) {
        item* one = queue.try_pop();
        if (one == nullptr) {
            std::this_thread::yield();
            continue;
        }
        REQUIRE(one->number == expected);
        ++expected;
    }
    even.join();
    odd.join();
    require_drained(queue);
}

TEST_CASE_TEMPLATE("a sleeper that saw the queue empty is seen by the producer", Queue, queue_of<1>,
                   queue_of<2>, mpmc_queue<item>) {
    Queue queue;
    item one;
    std::atomic<bool> idle{false};
    bool found_empty = false;
    bool saw_idle = false;
    constexpr int rounds = 2000 * effort;
    int missed = 0;
    std::barrier meet(2);
    const auto until_both = [&] { meet.arrive_and_wait(); };
    std::thread producer([&] {
        for (int i = 0; i < rounds; ++i) {
            until_both();
            queue.push(&one);
            saw_idle = idle.load(std::memory_order_seq_cst);
            until_both();
        }
    });
    for (int i = 0; i < rounds; ++i) {
        idle.store(false, std::memory_order_seq_cst);
        until_both();
        idle.store(true, std::memory_order_seq_cst);
        found_empty = queue.was_empty();
        until_both();
        missed += found_empty && !saw_idle ? 1 : 0;
        REQUIRE(queue.try_pop() == &one);
    }
    producer.join();
    CHECK(missed == 0);
}
