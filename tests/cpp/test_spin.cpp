#include "loomy/sync/spin.hpp"

#include <doctest/doctest.h>

using namespace loomy;

namespace {

// A wait that spun in vain and was over a moment after the thread had parked.
void sleep_soon_over(spin_budget& budget) {
    budget.slept(now_ns() + 1'000'000'000); // however long this thread is held up before it is looked at
}

void sleep_long(spin_budget& budget) {
    budget.slept(now_ns() - 10 * spin_budget::soon_ns);
}

void grow_to_ceiling(spin_budget& budget) {
    for (int i = 0; i < 100'000 && budget.budget_ns() < spin_budget::ceiling_ns; ++i) sleep_soon_over(budget);
    REQUIRE(budget.budget_ns() == spin_budget::ceiling_ns);
}

int sleeps_until_it_grows(spin_budget& budget) {
    int sleeps = 0;
    while (budget.budget_ns() == spin_budget::floor_ns && sleeps < 100'000) {
        sleep_soon_over(budget);
        ++sleeps;
    }
    return sleeps;
}

bool spin_that_pays(spin_budget& budget) {
    std::int64_t start_ns = 0;
    return budget.spin([] { return true; }, start_ns);
}

} // namespace

TEST_CASE("the budget grows with waits that are over soon, and shrinks with long ones") {
    spin_budget budget;
    grow_to_ceiling(budget);
    sleep_long(budget);
    CHECK(budget.budget_ns() == spin_budget::ceiling_ns / 2);
    for (int i = 0; i < 10; ++i) sleep_long(budget);
    CHECK(budget.budget_ns() == spin_budget::floor_ns);
}

TEST_CASE("what comes soon after the longest spin and not in it cannot come while somebody spins") {
    spin_budget budget;
    grow_to_ceiling(budget);
    sleep_soon_over(budget);
    CHECK(budget.budget_ns() == spin_budget::floor_ns);
}

TEST_CASE("it tries again, more and more rarely, until a spin pays") {
    spin_budget budget;
    grow_to_ceiling(budget);
    sleep_soon_over(budget);
    const int first = sleeps_until_it_grows(budget);
    grow_to_ceiling(budget);
    sleep_soon_over(budget);
    const int second = sleeps_until_it_grows(budget);
    CHECK(first > 1);
    CHECK(second > first);
    if (spin_permits::try_take()) { // not on a single CPU, where nobody spins
        spin_permits::give_back();
        REQUIRE(spin_that_pays(budget));
        grow_to_ceiling(budget);
        sleep_soon_over(budget);
        CHECK(sleeps_until_it_grows(budget) == first);
    }
}

TEST_CASE("a fixed budget stays") {
    spin_budget budget(0);
    for (int i = 0; i < 100; ++i) sleep_soon_over(budget);
    CHECK(budget.budget_ns() == 0);
}
