#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "loomy/base/cacheline.hpp"
#include "loomy/exec/interrupts.hpp"
#include "loomy/exec/stats.hpp"
#include "loomy/sync/cancel_token.hpp"
#include "loomy/sync/parker.hpp"
#include "loomy/sync/spin.hpp"

namespace loomy {

class pool;

// A worker of a pool: a numbered slot. Whoever takes its bit from the pool's slot_set owns everything here that
// has no other guard, until the bit is given back.
struct slot {
    slot(pool& owner_, std::uint32_t id_, std::int64_t spin_ns) noexcept : owner(owner_), id(id_), spin(spin_ns) {}

    pool& owner;
    const std::uint32_t id;

    // What the thread is to do when it is unparked; written by the one who took the slot to wake it.
    bool search_on_wake = false; // it carries the pool's one searching licence
    bool leave_on_wake = false;
    bool has_thread = false;     // started, and not yet past its last job
    bool in_use = false;         // has joined and not left, or is a guest's; guarded by the pool's lifecycle lock
    std::atomic<bool> ready{false}; // its environment has made what jobs need
    void* user = nullptr;           // the environment's, set while ready
    slot* set_aside = nullptr;   // link of wake_lowest's private list
    spin_budget spin;
    parker park;

    alignas(cache_line) slot_stats stats;

    interrupts interruption;

    // Tokens of the jobs running here, for whoever must stop them all.
    std::mutex tokens_lock;
    std::vector<ref<cancel_token>> tokens;
};

} // namespace loomy
