// C3: pools. Each case with two workers unless it says otherwise.

#include <string>

#include "pool_cases.hpp"
#include "pools/all.hpp"
#include "submit_to_start.hpp"
#include "suite.hpp"

int main(int argc, char** argv) {
    using namespace bench;
    suite c3("C3", argc, argv);
    const auto cannot = [&](const std::string& name, const char* why) {
        c3.skip(name, "oneTBB task_group", why);
    };

    std::string name = "submit only, handles kept";
    add_pools<submit_with_handles, loomy_pool, mutex_pool>(c3, name);
    cannot(name, "it has no handles");

    name = "submit only, no handles";
    add_pools<submit_and_forget, loomy_pool, mutex_pool>(c3, name);
#if BENCH_HAS_TBB
    add_pools<submit_and_forget, tbb_pool>(c3, name);
#else
    skip_tbb(c3, name, "oneTBB task_group");
#endif

    name = "round trip";
    add_pools<round_trip, loomy_pool, mutex_pool, loomy_pool_with_caller>(c3, name);
#if BENCH_HAS_TBB
    add_pools<round_trip, tbb_pool>(c3, name);
#else
    skip_tbb(c3, name, "oneTBB task_group");
#endif

    for (const std::uint64_t width : {1, 10, 100, 1'000, 10'000, 100'000}) {
        name = "fan-out " + std::to_string(width);
        add_pools<fan_out, loomy_pool, mutex_pool, loomy_pool_with_caller>(c3, name, width);
#if BENCH_HAS_TBB
        add_pools<fan_out, tbb_pool, tbb_parallel_for>(c3, name, width);
#else
        skip_tbb(c3, name, "oneTBB task_group");
        skip_tbb(c3, name, "oneTBB parallel_for");
#endif
    }

    name = "burst of 100 each millisecond, submit to start";
    add_pools<submit_to_start, loomy_pool, mutex_pool>(c3, name, std::int64_t{1'000'000}, std::uint64_t{100});
#if BENCH_HAS_TBB
    add_pools<submit_to_start, tbb_pool>(c3, name, std::int64_t{1'000'000}, std::uint64_t{100});
#else
    skip_tbb(c3, name, "oneTBB task_group");
#endif

    name = "bounded to 64, one worker";
    add_pools<bounded, loomy_pool, mutex_pool>(c3, name);
    cannot(name, "it has no bound on what is queued");

    name = "cancel a queued job";
    add_pools<cancel, loomy_pool, mutex_pool>(c3, name);
    cannot(name, "it cancels a whole group");

    name = "create, two jobs, destroy";
    add_pools<create_destroy, loomy_pool, mutex_pool>(c3, name);
    cannot(name, "its threads are the process's");

    name = "idle shutdown, eight workers";
    add_pools<idle_shutdown, loomy_pool, mutex_pool>(c3, name);
    cannot(name, "its threads are the process's");
    return c3.run();
}
