#include "loomy/exec/slot_set.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "pool_race.hpp"

using namespace loomy;
using loomy::testing::race;
using loomy::testing::rounds_of;
using loomy::testing::slowness;

namespace {

std::unique_ptr<slot_set> with_free(std::initializer_list<std::uint32_t> ids) {
    auto set = std::make_unique<slot_set>();
    for (const std::uint32_t id : ids) {
        set->make_room_for(id);
        set->release(id);
    }
    return set;
}

} // namespace

TEST_CASE("a new set has nothing to take") {
    auto set = with_free({});
    CHECK_FALSE(set->any());
    CHECK(set->count() == 0);
    CHECK_FALSE(set->take_lowest());
    CHECK_FALSE(set->take_highest());
    CHECK_FALSE(set->try_take(0));
    CHECK_FALSE(set->try_take(slot_set::capacity - 1));
}

TEST_CASE("the lowest free slot is taken first") {
    auto set = with_free({9, 3, 63, 5});
    CHECK(set->count() == 4);
    CHECK(set->take_lowest() == 3u);
    CHECK(set->take_lowest() == 5u);
    set->release(3);
    CHECK(set->take_lowest() == 3u);
    CHECK(set->take_lowest() == 9u);
    CHECK(set->take_lowest() == 63u);
    CHECK_FALSE(set->take_lowest());
    CHECK_FALSE(set->any());
}

TEST_CASE("for shrinking the highest free slot is taken first") {
    auto set = with_free({0, 31, 63});
    CHECK(set->take_highest() == 63u);
    CHECK(set->take_highest() == 31u);
    CHECK(set->take_highest() == 0u);
    CHECK_FALSE(set->take_highest());
}

TEST_CASE("slots beyond one word are found from both ends") {
    auto set = with_free({64, 63, 127, 128, 4'095, slot_set::capacity - 1});
    CHECK(set->count() == 6);
    CHECK(set->take_lowest() == 63u);
    CHECK(set->take_highest() == slot_set::capacity - 1);
    CHECK(set->take_lowest() == 64u);
    CHECK(set->take_highest() == 4'095u);
    CHECK(set->take_lowest() == 127u);
    CHECK(set->any());
    CHECK(set->take_highest() == 128u);
    CHECK_FALSE(set->any());
}

TEST_CASE("a particular slot is taken once") {
    auto set = with_free({2, 70});
    CHECK(set->contains(70));
    CHECK(set->try_take(70));
    CHECK_FALSE(set->contains(70));
    CHECK_FALSE(set->try_take(70));
    CHECK_FALSE(set->try_take(71));
    CHECK(set->try_take(2));
    set->release(70);
    CHECK(set->try_take(70));
}

TEST_CASE("room is never taken back") {
    auto set = with_free({200});
    set->make_room_for(3);
    CHECK(set->take_highest() == 200u);
}

TEST_CASE("one free slot goes to one of two takers") {
    using take = bool (*)(slot_set&);
    const take lowest = [](slot_set& from) { return from.take_lowest().has_value(); };
    const take highest = [](slot_set& from) { return from.take_highest().has_value(); };
    const take that = [](slot_set& from) { return from.try_take(65); };
    auto set = with_free({65});
    (void)set->take_lowest();
    for (const auto& [one, other] :
         {std::pair{lowest, lowest}, {lowest, highest}, {lowest, that}, {highest, that}, {that, that}}) {
        int mine = 0, others = 0, wrong = 0;
        race(
            rounds_of(5'000), [&] { set->release(65); },
            {[&, one = one] { mine = one(*set); }, [&, other = other] { others = other(*set); }},
            [&] { wrong += mine + others != 1 || set->any(); });
        CHECK(wrong == 0);
    }
}

TEST_CASE("no slot is ever handed to two threads, and what its last user wrote is seen by the next") {
    constexpr std::uint32_t slots = 130; // three words, so that takers meet at their borders
    constexpr int threads_count = 4;
    const int each = 100'000 / slowness;
    auto set = std::make_unique<slot_set>();
    struct use {
        std::atomic<bool> taken{false};
        std::uint64_t uses = 0; // not atomic: whoever has the slot owns it
    };
    std::vector<use> used(slots);
    set->make_room_for(slots - 1);
    for (std::uint32_t id = 0; id < slots; id += 13) set->release(id); // ten of them: they are in demand
    std::atomic<int> doubly{0};
    std::atomic<std::uint64_t> taken{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < threads_count; ++t) {
        threads.emplace_back([&, t] {
            std::mt19937 random(static_cast<unsigned>(t));
            for (int i = 0; i < each; ++i) {
                std::optional<std::uint32_t> id;
                switch (random() % 3) {
                    case 0:
                        id = set->take_lowest();
                        break;
                    case 1:
                        id = set->take_highest();
                        break;
                    default:
                        id = static_cast<std::uint32_t>(random() % 10 * 13);
                        if (!set->try_take(*id)) id.reset();
                }
                if (!id) continue;
                use& mine = used[*id];
                if (mine.taken.exchange(true, std::memory_order_relaxed)) doubly.fetch_add(1);
                ++mine.uses;
                taken.fetch_add(1, std::memory_order_relaxed);
                mine.taken.store(false, std::memory_order_relaxed);
                set->release(*id);
            }
        });
    }
    for (auto& one : threads) one.join();
    CHECK(doubly == 0);
    CHECK(set->count() == 10);
    std::uint64_t uses = 0;
    for (const use& one : used) uses += one.uses;
    CHECK(uses == taken);
}
