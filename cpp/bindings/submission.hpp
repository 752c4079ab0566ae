#pragma once

#include <Python.h>

#include "async_result.hpp"
#include "pool_object.hpp"

// How a job that has been made gets into the queue of its pool.
namespace loomy::py {

// As the pool's on_full says. 1: it is in, or has ended; 0: full, if `full_is_none`; -1: error set. Unless 1
// the job is as it was.
[[nodiscard]] int submit_result(python_pool& home, async_result* made, const call_limits& limits,
                                bool full_is_none);

// The job was not accepted. Ends the caller's reference.
void discard(async_result* made);

} // namespace loomy::py
