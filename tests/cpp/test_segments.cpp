#include "loomy/kernel/segments.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

using namespace loomy;

namespace {

std::vector<index_range> taken(segments& from, std::uint32_t participant, std::int64_t want) {
    std::vector<index_range> all;
    from.take(participant, want, [&](index_range items) {
        all.push_back(items);
        return true;
    });
    return all;
}

} // namespace

TEST_CASE("a participant takes from his own run first, then from those after it, and around") {
    segments cut;
    CHECK_FALSE(cut);
    cut.cut(300, 3, 1);
    REQUIRE(cut);
    for (const std::uint32_t participant : {0u, 1u, 2u, 4u}) {
        const auto own = taken(cut, participant, 10);
        REQUIRE(own.size() == 1);
        CHECK(own[0].begin == 100 * (participant % 3) + (participant == 4 ? 10 : 0));
        CHECK(own[0].end == own[0].begin + 10);
    }
    const auto all = taken(cut, 2, 260); // what is left, in three pieces
    REQUIRE(all.size() == 3);
    CHECK((all[0].begin == 210 && all[0].end == 300));
    CHECK((all[1].begin == 10 && all[1].end == 100));
    CHECK((all[2].begin == 120 && all[2].end == 200));
    CHECK(taken(cut, 0, 1).empty());
}

TEST_CASE("who does not want to go on has taken no more than he used") {
    segments cut;
    cut.cut(100, 2, 1);
    int uses = 0;
    cut.take(0, 60, [&](index_range) { return ++uses < 1; });
    CHECK(uses == 1);
    CHECK(taken(cut, 1, 50).size() == 1);
}

TEST_CASE("runs are cut at multiples of the grain, and what is left over is the rest") {
    segments cut;
    cut.cut(10'001, 3, 64);
    REQUIRE(cut);
    CHECK(cut.rest().begin == 9'984);
    CHECK(cut.rest().end == 10'001);
    for (std::int64_t left = 9'984; left > 0; left -= 64) {
        const auto one = taken(cut, 1, 64);
        REQUIRE(one.size() == 1);
        CHECK(one[0].begin % 64 == 0);
        CHECK(one[0].end - one[0].begin == 64);
    }
    segments none;
    none.cut(100, 3, 64); // not a grain for each
    CHECK_FALSE(none);
}

TEST_CASE("threads that take at once find as many items as they were granted, and each item once") {
    constexpr std::int64_t total = 20'000;
    for (int turn = 0; turn < 50; ++turn) {
        segments cut;
        cut.cut(total, 3, 1);
        std::vector<std::atomic<int>> hits(total);
        std::atomic<std::int64_t> granted{0}, short_of{0};
        std::vector<std::thread> threads;
        for (std::uint32_t participant = 0; participant < 4; ++participant) {
            threads.emplace_back([&, participant] {
                for (;;) {
                    const std::int64_t want = 1 + static_cast<std::int64_t>(participant) * 7;
                    const std::int64_t begin = granted.fetch_add(want, std::memory_order_relaxed);
                    std::int64_t left = std::min(begin + want, total) - begin;
                    if (left <= 0) return;
                    cut.take(participant, left, [&](index_range items) {
                        for (std::int64_t i = items.begin; i < items.end; ++i)
                            hits[static_cast<std::size_t>(i)].fetch_add(1, std::memory_order_relaxed);
                        left -= items.end - items.begin;
                        return true;
                    });
                    short_of.fetch_add(left, std::memory_order_relaxed);
                }
            });
        }
        for (std::thread& one : threads) one.join();
        REQUIRE(short_of == 0);
        REQUIRE(std::all_of(hits.begin(), hits.end(), [](const auto& hit) { return hit == 1; }));
    }
}
