#pragma once

#include <cstdint>

#include "loomy/sync/queue_block.hpp"
#include "loomy/sync/stepped_atomic.hpp"

namespace loomy {

// The steps of the sleep/wake protocol, for the injection hook. Numbers and letters are those of
// cpp/README.md.
enum class wake_step : std::uint8_t {
    counts_job,              // (1)
    pushes_job,              // (2)
    reads_licence,           // (3)
    looks_for_free,          // (4)
    looks_for_helper,        // (4), when nobody is free
    takes_licence,           // (5)
    reads_free,              // (6): the lowest bit ...
    takes_free,              //      ... and taking it
    unparks,                 // (6)
    gives_licence_up,        // (7)
    looks_again,             // (8)
    gives_slot_back,         // (a)
    gives_licence_back,      // (b)
    reads_attention,         // (c)
    looks_at_queue,          // (d)
    parks,                   // (e)
    takes_licence_to_search, // who ran out of work
    hands_licence_on,        // who found some
    lists_helper,            // who waits inside a job: its (a) ...
    looks_as_helper,         // ... its (d) ...
    parks_as_helper,         // ... and its (e)
    refuses_unready,         // a worker that is not ready, when none is
    passes_over_unready,     // wake_ready: the licence ...
    takes_ready,             // ... and the bit of one that is ready
    count_,
};

#if defined(LOOMY_INJECT)
// Of the one test program that is built with a core of its own (tests/cpp/CMakeLists.txt), which defines it:
// called before each step of the protocol and of the queue, where no lock is held.
struct wake_hook {
    static void at(wake_step step) noexcept;
    static void at(queue_step step) noexcept;
};
#else
using wake_hook = no_step;
#endif

} // namespace loomy
