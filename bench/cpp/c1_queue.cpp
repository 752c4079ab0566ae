// C1: queues. A pair on one thread, producers beside consumers, bulk, threads that are preempted or stopped.

#include <sched.h>

#include <memory>
#include <stdexcept>

#include "queue_frozen.hpp"
#include "queue_transfer.hpp"
#include "queues/all.hpp"
#include "suite.hpp"

namespace bench {
namespace {

// All threads on one CPU: each is preempted wherever it is, with whatever it holds.
struct one_cpu {
    one_cpu() {
        cpu_set_t usable;
        if (sched_getaffinity(0, sizeof usable, &usable) != 0)
            throw std::runtime_error("which CPUs there are");
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (!CPU_ISSET(cpu, &usable)) continue;
            CPU_ZERO(&usable);
            CPU_SET(cpu, &usable);
            break;
        }
        if (sched_setaffinity(0, sizeof usable, &usable) != 0) throw std::runtime_error("pinning to one CPU");
    }
};

template <class Queue>
class queue_transfer_on_one_cpu final : public contender {
  public:
    queue_transfer_on_one_cpu(unsigned producers, unsigned consumers) : transfer_(producers, consumers, 1) {}
    sample round() override { return transfer_.round(); }

  private:
    one_cpu pinned_; // before the threads, which inherit it
    queue_transfer<Queue> transfer_;
};

} // namespace
} // namespace bench

int main(int argc, char** argv) {
    using namespace bench;
    suite c1("C1", argc, argv);
    add_queues<queue_pairs>(c1, "push + pop, one thread");
    add_queues<queue_backlog>(c1, "backlog of 10,000, one thread");
    add_queues<queue_transfer>(c1, "1P1C", 1u, 1u, std::size_t{1});
    add_queues<queue_transfer>(c1, "2P2C", 2u, 2u, std::size_t{1});
    add_queues<queue_transfer>(c1, "4P4C", 4u, 4u, std::size_t{1});
    add_queues<queue_transfer>(c1, "1P1C, 32 at a time", 1u, 1u, std::size_t{32});
    add_queues<queue_transfer>(c1, "4P4C, 32 at a time", 4u, 4u, std::size_t{32});
    add_queues<queue_transfer_on_one_cpu>(c1, "4P4C on one CPU", 4u, 4u);
    add_queues<queue_frozen>(c1, "a thread is frozen");
    return c1.run();
}
