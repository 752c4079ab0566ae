#include "loomy/exec/job.hpp"

#include <utility>

namespace loomy {
namespace {

constexpr std::uint32_t with_phase(std::uint32_t word, phase p) noexcept {
    return (word & ~job::phase_mask) | static_cast<std::uint32_t>(p);
}

// The owner is gone and this was the last hold.
constexpr bool is_disposable(std::uint32_t word) noexcept {
    return (word & job::orphan) != 0 && !job::has_holds(word);
}

} // namespace

job::popped job::claim_popped() noexcept {
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    for (;;) {
        const bool free = phase_of(seen) == phase::pending;
        const std::uint32_t next = free ? with_phase(seen, phase::running) : seen - one_hold;
        if (!word_.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed))
            continue;
        if (free) return popped::claimed;
        return is_disposable(next) ? popped::disposable : popped::husk;
    }
}

bool job::claim_in_queue() noexcept {
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    while (phase_of(seen) == phase::pending) {
        const std::uint32_t next = with_phase(seen, phase::running) + one_hold;
        if (word_.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed))
            return true;
    }
    return false;
}

bool job::settle() noexcept {
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    // Claiming does not change the phase of what is shared.
    while (phase_of(seen) == phase::running || (phase_of(seen) == phase::pending && (seen & shared) != 0)) {
        if (word_.compare_exchange_weak(seen, with_phase(seen, phase::settling), std::memory_order_relaxed))
            return true;
    }
    return false;
}

job::published job::publish() {
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    for (;;) {
        const bool stands = !is_final(phase_of(seen));
        if (stands && (seen & (waiting | calling)) != 0) return publish_to_listeners();
        const std::uint32_t next = (stands ? with_phase(seen, phase::done) : seen) - one_hold;
        // (2) release: the result is visible to whoever sees the phase.
        if (!word_.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed))
            continue;
        return {stands, is_disposable(next)};
    }
}

job::published job::publish_to_listeners() {
    listener* callbacks = nullptr;
    published result{};
    {
        // A waiter whose node was listed leaves through this lock (stop_listening), so the nodes are valid
        // while it is held, even though the job itself may be gone right after the exchange.
        const listener_lock guard(this);
        listener* told = std::exchange(listeners_, nullptr);
        std::uint32_t seen = word_.load(std::memory_order_relaxed);
        std::uint32_t next = 0;
        do {
            result.stands = !is_final(phase_of(seen));
            next = (result.stands ? with_phase(seen, phase::done) : seen) - one_hold;
        } while (!word_.compare_exchange_weak(seen, next, std::memory_order_acq_rel,
                                              std::memory_order_relaxed)); // (2)
        result.disposable = is_disposable(next);
        if (result.stands) {
            callbacks = wake_waiters_locked(told);
        } else if (told != nullptr) {
            // Whoever abandoned it has yet to come for them, through this lock, and its hold keeps the job
            // alive. Without any it may be done already, and the job gone.
            listeners_ = told;
        }
    }
    call_listeners(callbacks);
    return result;
}

job::abandoned job::abandon(phase as, bool only_queued) noexcept {
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    for (;;) {
        const phase now = phase_of(seen);
        if (now != phase::pending && (only_queued || now != phase::running)) return abandoned::no;
        // Held until after_abandon has told everybody; an owner that lets go meanwhile leaves it to us.
        const std::uint32_t next =
            (with_phase(seen, as) | (now == phase::running ? stopping : 0u)) + one_hold;
        // (3) acq_rel: pairs with (1); and after_abandon must see what the runner wrote when it claimed.
        if (word_.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed)) {
            return now == phase::pending ? abandoned::in_queue : abandoned::while_running;
        }
    }
}

bool job::request_stop() noexcept {
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    while (phase_of(seen) == phase::running) {
        if (word_.compare_exchange_weak(seen, seen | stopping, std::memory_order_acq_rel,
                                        std::memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

bool job::drop_hold() noexcept {
    return is_disposable(word_.fetch_sub(one_hold, std::memory_order_acq_rel) - one_hold);
}

bool job::drop_owner() noexcept {
    return !has_holds(word_.fetch_or(orphan, std::memory_order_acq_rel));
}

bool job::listen(listener& node) noexcept {
    const std::uint32_t bit = node.waiter != nullptr || node.is_native ? waiting : calling;
    const listener_lock guard(this);
    std::uint32_t seen = word_.load(std::memory_order_acquire);
    do {
        if (is_final(phase_of(seen))) return false;
    } while (
        !word_.compare_exchange_weak(seen, seen | bit, std::memory_order_acq_rel, std::memory_order_acquire));
    // The one who sets a final phase from now on sees the bit and comes for the list, through this lock.
    node.next = listeners_;
    listeners_ = &node;
    return true;
}

bool job::stop_listening(listener& node) noexcept {
    const listener_lock guard(this);
    for (listener** link = &listeners_; *link != nullptr; link = &(*link)->next) {
        if (*link != &node) continue;
        *link = node.next;
        return true;
    }
    return false;
}

void job::tell_listeners() {
    listener* callbacks = nullptr;
    {
        const listener_lock guard(this);
        callbacks = wake_waiters_locked(listeners_);
    }
    call_listeners(callbacks);
}

} // namespace loomy
