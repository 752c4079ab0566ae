#pragma once

#include <Python.h>

#include "async_result.hpp"
#include "await_in_place.hpp"
#include "event_loop.hpp"

// An event loop that runs inside a job keeps the slot of that job. It must not be held up by other jobs, and
// yet those it waits for may have no other slot to run on.
namespace loomy::py {

// Before a task suspends for the result: runs that job here if nobody else can.
[[nodiscard]] before await_inside_job(async_result* result, event_loop& loop);

// Of what a loop waits for inside a job: until it has it, the loop looks now and then whether what is queued
// can be run by nobody else. False with an error set.
[[nodiscard]] bool watch_inside_job(event_loop& loop);

// A full queue, and the loop of this thread runs inside a job of its pool. 1: a place was made, as nobody
// else can make one; 0: others will; -1 with an error set.
[[nodiscard]] int make_place_inside_job(pool& full, event_loop& loop);

} // namespace loomy::py
