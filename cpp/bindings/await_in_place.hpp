#pragma once

#include <Python.h>

#include <cstdint>

#include "async_result.hpp"
#include "event_loop.hpp"

namespace loomy::py {

// What an await does before it suspends.
enum class before : std::uint8_t {
    go_on, // the job may or may not have ended
    turn,  // the loop must have a turn first
    failed // an error is set
};

// The task may go on without suspending, unless the loop has not had a turn for too long.
[[nodiscard]] before stay(event_loop& loop);

// Waits a little for a result that is not there yet, if the loop would only go to sleep meanwhile. The caller
// keeps the result, which a signal handler might drop. `since_ns`: when it began to, for the await_spin of
// the pool; else as it was.
[[nodiscard]] before wait_in_place(async_result* result, event_loop& loop, std::int64_t& since_ns);

} // namespace loomy::py
