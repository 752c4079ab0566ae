#include "loomy/exec/batch.hpp"

#include "loomy/exec/interrupter.hpp"
#include "loomy/exec/pool.hpp"

namespace loomy {

submitted pool::submit(batch& next) {
    list_batch(next);
    batch_entries_.fetch_add(1, std::memory_order_relaxed);
    next.queued_.store(true, std::memory_order_release);
    submitted answer = submitted::closed;
    try {
        answer = admit(next, next.size());
    } catch (...) {
        batch_entries_.fetch_sub(1, std::memory_order_relaxed);
        unlist_batch(next);
        throw;
    }
    if (answer != submitted::accepted) {
        next.queued_.store(false, std::memory_order_relaxed);
        batch_entries_.fetch_sub(1, std::memory_order_relaxed);
        unlist_batch(next);
        if (next.size() == 0 || next.unclaimed() != 0) return answer;
        // A close that found it listed has refused its items: then it was submitted before the close.
        submitted_.fetch_add(next.size(), std::memory_order_relaxed);
        return submitted::accepted;
    }
    if (discarding_.load(std::memory_order_seq_cst)) refuse_queued();
    // Without a thread the batch stays queued for the caller to take part in, or for a later try.
    return notify() ? submitted::accepted : submitted::no_thread;
}

void pool::take_part(batch& which, frame& where) {
    job* const outer = std::exchange(where.current, &which);
    frame* const below = where.where.running.load(std::memory_order_relaxed);
    where.where.running.store(&where, std::memory_order_release);
    const std::uint64_t done = which.take_part(where);
    where.where.stop_running(below);
    where.current = outer;
    if (places_ && where.own_thread) places_->give(); // before the answer, as a job's
    if (which.finish(done)) finish_batch(which, &where);
}

// Back into the queue for the next worker, if there is something for it to do. A closed pool that drains
// still finishes its batches with all hands. The caller has a hold, or owns the batch.
void pool::invite(batch& open) {
    if (open.unclaimed() <= 1 || discarding_.load(std::memory_order_seq_cst)) return;
    if (places_) places_->take(); // before somebody may abandon the batch and give it back
    if (!entry_queued(open)) {    // somebody else has invited a worker already
        if (places_) places_->give();
        // That entry may have left the queue while ours was counted, and nobody noticed that nothing is
        // queued.
        if (attention_.load(std::memory_order_seq_cst) != 0) let_go_of_idle_workers();
        return;
    }
    open.add_hold();
    try {
        queue_.push(&open);
        notify();
    } catch (const std::bad_alloc&) { // then those who take part do it alone
        (void)open.drop_hold();       // not the last: the caller's remains
        if (entry_gone(open) && places_) places_->give();
    }
}

// All items are accounted for.
void pool::finish_batch(batch& ended, frame* where) {
    unlist_batch(ended);
    // An entry that nobody has taken out yet must not keep its place. (Who refuses the rest may come before
    // the entry.)
    if (where != nullptr && entry_gone(ended) && places_) places_->give();
    if (where != nullptr && where->own_thread && (ended.word() & (job::calling | job::orphan)) == 0 &&
        queue_.was_empty()) {
        where->env.leave();
    }
    ended.add_hold();
    if (ended.publish().disposable) ended.dispose();
}

bool pool::abandon(batch& which, phase as) {
    if (which.job::abandon(as) == job::abandoned::no) return false;
    unlist_batch(which);
    if (entry_gone(which) && places_) places_->give();
    const batch::range rest = which.claim_rest();
    abandoned_count(as).fetch_add(rest.end - rest.begin, std::memory_order_relaxed);
    which.on_abandoned(as, true);
    which.items_abandoned(rest, as);
    (void)which.finish(rest.end - rest.begin); // it has been ended by us, whoever is last
    if (options_.interruptible) interrupter::instance().deliver(*this, &which);
    if ((which.word() & (job::waiting | job::calling)) != 0) which.tell_listeners();
    if (which.drop_hold()) which.dispose();
    return true;
}

// The pool closes: what has not started fails, what is running ends as usual.
void pool::refuse_rest(batch& open) {
    batch::range rest{};
    {
        // Not once it is off the list: a submission that found the pool closed takes it off and keeps its
        // items.
        const std::lock_guard guard(batches_lock_);
        if (open.listed_) rest = open.claim_rest();
    }
    if (rest.empty()) return;
    refused_.fetch_add(rest.end - rest.begin, std::memory_order_relaxed);
    open.items_abandoned(rest, phase::refused);
    if (open.finish(rest.end - rest.begin)) finish_batch(open, nullptr);
}

// An entry of it goes back into the queue.
bool pool::entry_queued(batch& which) noexcept {
    jobs_in_.reenter();
    batch_entries_.fetch_add(1, std::memory_order_relaxed);
    if (!which.queued_.exchange(true, std::memory_order_acq_rel)) return true;
    batch_entries_.fetch_sub(1, std::memory_order_relaxed);
    (void)jobs_in_.leave(); // invite sees to it that this was not the last
    return false;
}

// Its entry has left the queue, or will be a husk there. True for the one call that counts it out.
bool pool::entry_gone(batch& which) {
    if (!which.queued_.exchange(false, std::memory_order_acq_rel)) return false;
    batch_entries_.fetch_sub(1, std::memory_order_relaxed);
    settle_left(jobs_in_.leave());
    return true;
}

void pool::list_batch(batch& open) {
    const std::lock_guard guard(batches_lock_);
    open.next_ = first_batch_;
    if (first_batch_ != nullptr) first_batch_->previous_ = &open;
    first_batch_ = &open;
    open.listed_ = true;
}

void pool::unlist_batch(batch& open) noexcept {
    const std::lock_guard guard(batches_lock_);
    if (!std::exchange(open.listed_, false)) return;
    (open.previous_ != nullptr ? open.previous_->next_ : first_batch_) = open.next_;
    if (open.next_ != nullptr) open.next_->previous_ = open.previous_;
    open.previous_ = open.next_ = nullptr;
}

} // namespace loomy
