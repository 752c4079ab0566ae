#pragma once

#include <memory>
#include <string>

#include "loomy_pool.hpp"
#include "mutex_pool.hpp"
#if BENCH_HAS_TBB
#include "tbb_pool.hpp"
#endif

namespace bench {

// Adds one case to a suite: `Contender<Pool>` for each of the pools, made with `arguments`.
template <template <class> class Contender, class... Pools, class Suite, class... Arguments>
void add_pools(Suite& to, const std::string& name, Arguments... arguments) {
    (to.add(
         name, Pools::name, [=] { return std::make_unique<Contender<Pools>>(arguments...); }, Pools::note),
     ...);
}

// The same for oneTBB's, which may not be there.
template <class Suite>
void skip_tbb(Suite& to, const std::string& name, const std::string& competitor) {
    to.skip(name, competitor, "libtbb-dev was not installed when the benchmarks were configured");
}

} // namespace bench
