// C2: latencies. Queues that two threads play ping-pong with; sleepers that are woken, and pools that are
// given a job, after nothing has happened for a while.

#include <memory>
#include <string>

#include "pools/all.hpp"
#include "queue_ping_pong.hpp"
#include "queues/all.hpp"
#include "submit_to_start.hpp"
#include "suite.hpp"
#include "wake_up.hpp"

namespace bench {
namespace {

constexpr std::int64_t gaps_us[] = {0, 5, 50, 500};

template <class Primitive>
void add_wake_up(suite& to, const std::string& name, std::int64_t gap_ns) {
    to.add(name, Primitive::name, [gap_ns] { return std::make_unique<wake_up<Primitive>>(gap_ns); });
}

} // namespace
} // namespace bench

int main(int argc, char** argv) {
    using namespace bench;
    suite c2("C2", argc, argv);
    add_queues<queue_ping_pong>(c2, "queue ping-pong");
    for (const std::int64_t us : gaps_us) {
        const std::string name = "park and unpark, idle for " + std::to_string(us) + " us";
        add_wake_up<loomy_parker>(c2, name, us * 1'000);
        add_wake_up<condition_variable_sleep>(c2, name, us * 1'000);
        add_wake_up<semaphore_sleep>(c2, name, us * 1'000);
    }
    for (const std::int64_t us : gaps_us) {
        const std::string name = "submit to start, idle for " + std::to_string(us) + " us";
        add_pools<submit_to_start, loomy_pool, mutex_pool>(c2, name, us * 1'000, std::uint64_t{1});
#if BENCH_HAS_TBB
        add_pools<submit_to_start, tbb_pool>(c2, name, us * 1'000, std::uint64_t{1});
#else
        skip_tbb(c2, name, "oneTBB task_group");
#endif
    }
    return c2.run();
}
