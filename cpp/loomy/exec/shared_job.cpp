#include "loomy/exec/shared_job.hpp"

#include "loomy/exec/interrupter.hpp"
#include "loomy/exec/pool.hpp"

namespace loomy {

submitted pool::submit(shared_job& next) {
    list_shared(next);
    shared_entries_.fetch_add(1, std::memory_order_relaxed);
    next.queued_.store(true, std::memory_order_release);
    submitted answer = submitted::closed;
    try {
        answer = admit(next, next.jobs());
    } catch (...) {
        shared_entries_.fetch_sub(1, std::memory_order_relaxed);
        unlist_shared(next);
        throw;
    }
    if (answer != submitted::accepted) {
        next.queued_.store(false, std::memory_order_relaxed);
        shared_entries_.fetch_sub(1, std::memory_order_relaxed);
        unlist_shared(next);
        if (next.size() == 0 || next.unclaimed() != 0) return answer;
        // A close that found it listed has refused it: then it was submitted before the close.
        count_submitted(next.jobs());
        return submitted::accepted;
    }
    if (discarding_.load(std::memory_order_seq_cst)) refuse_queued();
    // Without a thread it stays queued for the caller to take part in, or for a later try.
    return notify() ? submitted::accepted : submitted::no_thread;
}

void pool::take_part(shared_job& which, frame& where) {
    job* const outer = std::exchange(where.current, &which);
    frame* const below = where.where.running.load(std::memory_order_relaxed);
    where.where.running.store(&where, std::memory_order_release);
    const std::uint64_t done = which.take_part(where);
    where.where.stop_running(below);
    where.current = outer;
    if (places_ && where.own_thread) places_->give(); // before the answer, as a job's
    if (which.finish(done)) finish_shared(which, &where);
}

// Back into the queue for the next worker, if there is something for it to do. A closed pool that drains
// still finishes what is shared with all hands. The caller has a hold, or owns it.
void pool::invite(shared_job& open, std::uint32_t joining) {
    if (!open.wants_more(joining) || discarding_.load(std::memory_order_seq_cst)) return;
    if (places_) places_->take(); // before somebody may abandon it and give it back
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
void pool::finish_shared(shared_job& ended, frame* where) {
    unlist_shared(ended);
    // An entry that nobody has taken out yet must not keep its place. (Who refuses the rest may come before
    // the entry.)
    if (where != nullptr && entry_gone(ended) && places_) places_->give();
    ended.ended(where);
    if (where != nullptr) leave_before_publishing(ended, *where);
    ended.add_hold();
    if (ended.publish().disposable) ended.dispose();
}

bool pool::abandon(shared_job& which, phase as) {
    if (!which.can_be_abandoned()) return stop(which, as);
    if (which.job::abandon(as) == job::abandoned::no) return false;
    unlist_shared(which);
    if (entry_gone(which) && places_) places_->give();
    end_abandoned(which, which.claim_rest(), as);
    return true;
}

bool pool::stop(shared_job& which, phase as) {
    if (which.finished()) return false;
    which.raise_stop(as);
    const shared_job::range rest = which.claim_rest();
    if (rest.empty()) return true; // its participants end it
    if (entry_gone(which) && places_) places_->give();
    if (which.finish(rest.size())) finish_shared(which, nullptr);
    return true;
}

// It has its answer, `as`; `rest` of it was claimed in order not to be run. Drops the hold that abandoning
// took.
void pool::end_abandoned(shared_job& which, shared_job::range rest, phase as) {
    which.on_abandoned(as, true);
    abandoned_count(as).fetch_add(which.items_abandoned(rest, as), std::memory_order_relaxed);
    if (which.finish(rest.size())) which.ended(nullptr); // else who takes part does that
    if (options_.interruptible) interrupter::instance().deliver(*this, &which);
    if ((which.word() & (job::waiting | job::calling)) != 0) which.tell_listeners();
    if (which.drop_hold()) which.dispose();
}

// The pool closes: what has not started fails, what is running ends as usual.
void pool::refuse_rest(shared_job& open) {
    shared_job::range rest{};
    {
        // Not once it is off the list: a submission that found the pool closed takes it off and keeps its
        // items.
        const std::lock_guard guard(shared_lock_);
        if (open.listed_) rest = open.claim_refused();
    }
    if (rest.empty()) return;
    const phase as = discard_as_.load(std::memory_order_seq_cst);
    abandoned_count(as).fetch_add(open.items_refused(rest, as), std::memory_order_relaxed);
    if (open.finish(rest.size())) finish_shared(open, nullptr);
}

// An entry of it goes back into the queue.
bool pool::entry_queued(shared_job& which) noexcept {
    shared_entries_.fetch_add(1, std::memory_order_relaxed); // it is not to look like a job of its own
    jobs_in_.reenter();
    if (!which.queued_.exchange(true, std::memory_order_acq_rel)) return true;
    (void)jobs_in_.leave(); // invite sees to it that this was not the last
    shared_entries_.fetch_sub(1, std::memory_order_relaxed);
    return false;
}

// Its entry has left the queue, or will be a husk there. True for the one call that counts it out.
bool pool::entry_gone(shared_job& which) {
    if (!which.queued_.exchange(false, std::memory_order_acq_rel)) return false;
    const admission::left left = jobs_in_.leave();
    shared_entries_.fetch_sub(1, std::memory_order_relaxed);
    settle_left(left);
    return true;
}

void pool::list_shared(shared_job& open) {
    const std::lock_guard guard(shared_lock_);
    open.next_ = first_shared_;
    if (first_shared_ != nullptr) first_shared_->previous_ = &open;
    first_shared_ = &open;
    open.listed_ = true;
}

void pool::unlist_shared(shared_job& open) noexcept {
    const std::lock_guard guard(shared_lock_);
    if (!std::exchange(open.listed_, false)) return;
    (open.previous_ != nullptr ? open.previous_->next_ : first_shared_) = open.next_;
    if (open.next_ != nullptr) open.next_->previous_ = open.previous_;
    open.previous_ = open.next_ = nullptr;
}

} // namespace loomy
