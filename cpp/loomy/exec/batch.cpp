#include "loomy/exec/batch.hpp"

#include "loomy/exec/pool.hpp"

namespace loomy {

submitted pool::submit(batch& next) {
    list_batch(next);
    const submitted answer = admit(next, next.size());
    if (answer != submitted::accepted) {
        unlist_batch(next);
        return answer;
    }
    if (discarding_.load(std::memory_order_seq_cst)) refuse_queued();
    // Without a thread the batch stays queued for the caller to take part in, or for a later try.
    return notify() ? submitted::accepted : submitted::no_thread;
}

void pool::take_part(batch& which, frame& where) {
    job* const outer = std::exchange(where.current, &which);
    const std::uint64_t done = which.take_part(where);
    where.current = outer;
    if (which.finish(done)) finish_batch(which, &where);
}

// All items are accounted for.
void pool::finish_batch(batch& ended, frame* where) {
    unlist_batch(ended);
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
    const batch::range rest = which.claim_rest();
    abandoned_count(as).fetch_add(rest.end - rest.begin, std::memory_order_relaxed);
    which.on_abandoned(as, true);
    which.items_abandoned(rest, as);
    (void)which.finish(rest.end - rest.begin); // it has been ended by us, whoever is last
    if ((which.word() & (job::waiting | job::calling)) != 0) which.tell_listeners();
    if (which.drop_hold()) which.dispose();
    return true;
}

// The pool closes: what has not started fails, what is running ends as usual.
void pool::refuse_rest(batch& open) {
    const batch::range rest = open.claim_rest();
    if (rest.empty()) return;
    refused_.fetch_add(rest.end - rest.begin, std::memory_order_relaxed);
    open.items_abandoned(rest, phase::refused);
    if (open.finish(rest.end - rest.begin)) finish_batch(open, nullptr);
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
