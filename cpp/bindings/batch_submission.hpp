#pragma once

#include <Python.h>

#include "pool_object.hpp"
#include "python_batch.hpp"

// How a batch gets into the queue of its pool.
namespace loomy::py {

// Null with an error set.
[[nodiscard]] ref<python_batch> make_batch(python_pool& home, batch_items items, const call_limits& limits);

// As the pool's on_full says. 0: queued, or done with; -1 with an error set.
[[nodiscard]] int submit_batch(python_pool& home, python_batch& whole, const call_limits& limits);

// The calling thread takes part in what is not queued at all. -1 with an error set when the pool is closed.
[[nodiscard]] int run_whole_here(python_pool& home, python_batch& whole, slot& on);

// The limits ended the batch before it was submitted.
void end_unsubmitted(python_pool& home, python_batch& whole, cancel_reason why);

} // namespace loomy::py
