#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>
#include <vector>

#include "loomy/base/cacheline.hpp"
#include "loomy/base/cpu.hpp"
#include "loomy/exec/interrupts.hpp"
#include "loomy/exec/job.hpp"
#include "loomy/exec/stats.hpp"
#include "loomy/kernel/scratch.hpp"
#include "loomy/sync/cancel_token.hpp"
#include "loomy/sync/parker.hpp"
#include "loomy/sync/spin.hpp"

namespace loomy {

class pool;
struct frame;

// A worker of a pool: a numbered slot. Whoever takes its bit from the pool's slot_set owns everything here
// that has no other guard, until the bit is given back.
struct slot {
    slot(pool& owner_, std::uint32_t id_, std::int64_t spin_ns) noexcept
        : owner(owner_), id(id_), spin(spin_ns) {}

    pool& owner;
    const std::uint32_t id;

    // What the thread is to do when it is unparked; written by the one who took the slot to wake it.
    bool search_on_wake = false; // it carries the pool's one searching licence
    bool leave_on_wake = false;
    std::atomic<bool> has_thread{
        false};          // started, and not yet past its last job; written by the slot's owner
    bool in_use = false; // has joined and not left, or is a guest's; guarded by the pool's lifecycle lock
    std::atomic<bool> ready{false}; // its environment has made what jobs need
    void* user = nullptr;           // the environment's, set while ready
    slot* set_aside = nullptr;      // link of wake_lowest's private list
    spin_budget spin;
    std::int64_t spin_start_ns = 0; // of the last search, 0 if there was none since the last sleep
    parker park;

    // The innermost frame whose job runs here, for whoever must end the jobs of this slot; null between jobs.
    std::atomic<frame*> running{nullptr};
    std::atomic<std::uint32_t> pins{0}; // who is looking at it
    // How many of the jobs here help only if nobody else can, and end when what they wait for has.
    std::atomic<std::uint32_t> reluctant{0};

    // The runner, before it publishes: afterwards the job may be gone.
    void stop_running(frame* below) noexcept {
        running.store(below, std::memory_order_seq_cst);
        // Whoever saw the frame before that has announced himself before he looked.
        while (pins.load(std::memory_order_seq_cst) != 0) cpu_pause(); // for a few instructions
    }

    alignas(cache_line) slot_stats stats;

    interrupts interruption;

    scratch_arena scratch; // of the chunks that run here

    // Tokens of the jobs running here, for whoever must stop them all.
    std::mutex tokens_lock;
    std::vector<ref<cancel_token>> tokens;

    // In the child of a fork, where whoever looked at this slot or delivered something is not.
    void die_in_child() noexcept {
        new (&tokens_lock) std::mutex;
        pins.store(0, std::memory_order_relaxed);
        interruption.die_in_child();
    }
};

} // namespace loomy
