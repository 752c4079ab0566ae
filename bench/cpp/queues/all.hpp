#pragma once

#include <string>

#include "loomy_queue.hpp"
#include "mutex_queue.hpp"
#if BENCH_HAS_BOOST
#include "boost_queue.hpp"
#endif
#if BENCH_HAS_TBB
#include "tbb_queue.hpp"
#endif
#if BENCH_HAS_MOODYCAMEL
#include "moodycamel_queue.hpp"
#endif
#if BENCH_HAS_ATOMIC_QUEUE
#include "atomic_queue.hpp"
#endif

namespace bench {

// Adds one case to a suite: `Contender<Queue>` for each queue, made with `arguments`; those whose package was
// not there when this was configured are named as skipped.
template <template <class> class Contender, class Suite, class... Arguments>
void add_queues(Suite& to, const std::string& name, Arguments... arguments) {
    const auto add = [&]<class Queue>() {
        to.add(
            name, Queue::name, [=] { return std::make_unique<Contender<Queue>>(arguments...); }, Queue::note);
    };
    [[maybe_unused]] const auto missing = [&](const char* competitor, const char* package) {
        to.skip(name, competitor,
                std::string(package) + " was not installed when the benchmarks were configured");
    };
    add.template operator()<loomy_queue>();
    add.template operator()<mutex_queue>();
#if BENCH_HAS_BOOST
    add.template operator()<boost_queue>();
#else
    missing("boost::lockfree", "libboost-dev");
#endif
#if BENCH_HAS_TBB
    add.template operator()<tbb_queue>();
#else
    missing("oneTBB", "libtbb-dev");
#endif
#if BENCH_HAS_MOODYCAMEL
    add.template operator()<moodycamel_queue>();
#else
    missing("moodycamel", "libconcurrentqueue-dev");
#endif
#if BENCH_HAS_ATOMIC_QUEUE
    add.template operator()<atomic_queue_queue>();
#else
    missing("atomic_queue", "libatomic-queue-dev");
#endif
}

} // namespace bench
