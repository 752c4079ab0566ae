// Two words count what came in and what left: what they say together.

#include "loomy/exec/admission.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>

#include "pool_race.hpp"

using loomy::admission;
using loomy::testing::race;
using loomy::testing::rounds_of;

TEST_CASE("what came in and has not left is counted, and each entry has its number") {
    admission in;
    std::uint64_t nth = 0;
    CHECK(in.is_open_and_empty());
    CHECK(in.enter(nth));
    CHECK(nth == 1);
    CHECK(in.depth(nth) == 1);
    CHECK(in.enter(nth));
    CHECK(nth == 2);
    CHECK(in.depth_as_known(nth) == 2);
    CHECK(in.depth(nth) == 2);
    CHECK(in.leave(2) == admission::left::open);
    CHECK(in.count() == 0);
    CHECK(in.is_open_and_empty());
    CHECK(in.enter(nth));
    CHECK(in.depth_as_known(nth) == 3); // nobody has looked since
    CHECK(in.depth(nth) == 1);
    CHECK(in.depth_as_known(nth) == 1);
    CHECK(in.submitted() == 3);
}

TEST_CASE("submitted is what came in, but for what backed out or comes in again, and what needs no entry") {
    admission in;
    std::uint64_t nth = 0;
    CHECK(in.enter(nth));
    in.count_submitted(9); // a batch of ten
    CHECK(in.submitted() == 10);
    CHECK(in.leave() == admission::left::open);
    in.reenter(); // for the next worker
    CHECK(in.count() == 1);
    CHECK(in.submitted() == 10);
    CHECK(in.leave() == admission::left::open);
    CHECK(in.enter(nth));
    CHECK(in.back_out() == admission::left::open);
    CHECK(in.submitted() == 10);
    in.uncount_submitted(9);
    CHECK(in.submitted() == 1);
    CHECK(in.is_open_and_empty());
}

TEST_CASE("after the close nobody comes in, and who is the last to leave is told") {
    admission in;
    std::uint64_t nth = 0;
    REQUIRE(in.enter(nth));
    REQUIRE(in.enter(nth));
    CHECK(in.close());
    CHECK_FALSE(in.close());
    CHECK(in.is_closed());
    CHECK_FALSE(in.enter(nth)); // counted all the same, until it backs out
    CHECK(in.count() == 3);
    CHECK(in.back_out() == admission::left::closed);
    CHECK(in.submitted() == 2);
    CHECK(in.leave() == admission::left::closed);
    CHECK(in.leave() == admission::left::closed_and_empty);
    CHECK_FALSE(in.is_open_and_empty());
}

TEST_CASE("a count is never less than what stays in, nor more than were there at once") {
    constexpr int times = 50;
    admission in;
    std::uint64_t first = 0;
    REQUIRE(in.enter(first)); // and stays
    int less = 0, more = 0, empty = 0, fewer = 0;
    race(
        rounds_of(2'000), [] {},
        {[&] {
             for (int i = 0; i < times; ++i) {
                 std::uint64_t nth = 0;
                 (void)in.enter(nth);
                 (void)in.back_out();
             }
         },
         [&] {
             for (int i = 0; i < times; ++i) {
                 const std::uint64_t now = in.count();
                 less += now < 1;
                 more += now > 2;
                 empty += in.is_empty() || in.is_open_and_empty();
                 fewer += static_cast<std::int64_t>(in.submitted()) < 1;
             }
         }},
        [] {});
    CHECK(less == 0);
    CHECK(more == 0);
    CHECK(empty == 0);
    CHECK(fewer == 0);
}

TEST_CASE("of the last to leave and who closes at the same time at least one sees that nothing is left") {
    auto in = std::make_unique<admission>();
    admission::left told{};
    std::uint64_t seen = 0;
    int overlooked = 0;
    race(
        rounds_of(10'000),
        [&] {
            in = std::make_unique<admission>();
            std::uint64_t nth = 0;
            (void)in->enter(nth);
        },
        {[&] { told = in->leave(); },
         [&] {
             (void)in->close();
             seen = in->count();
         }},
        [&] { overlooked += told != admission::left::closed_and_empty && seen != 0; });
    CHECK(overlooked == 0);
}
