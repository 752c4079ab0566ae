#pragma once

#include <Python.h>

#include "kernel_launch.hpp"
#include "pool_object.hpp"

namespace loomy::py {

enum class launch_how : std::uint8_t {
    queued,          // and this thread goes on
    with_this_thread // which takes part in it where it may, and waits otherwise
};

// Starts a launch as the pool's on_full says; its limits are watched from then on. False with an error set:
// it was not started.
[[nodiscard]] bool submit_launch(python_pool& home, python_launch& what, const kernel_object& kernel,
                                 const call_limits& limits, launch_how how);

// The exception of a launch that was ended from outside, as `as`. New reference; null with an error set.
[[nodiscard]] PyObject* launch_abandoned(phase as, const kernel_object& kernel, const python_pool& home,
                                         const call_limits& limits);

} // namespace loomy::py
