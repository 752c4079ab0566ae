#include "loomy/exec/pool.hpp"

namespace loomy {

// Borrowing a slot.

slot* pool::try_borrow() {
    if (!jobs_in_.is_open_and_empty()) return nullptr;
    const auto id = free_.take_lowest();
    if (!id) return nullptr;
    slot& taken = at(*id);
    if (!took_place(taken)) return nullptr;
    if (jobs_in_.is_closed()) {
        // Closed meanwhile, perhaps by one who now waits for this slot to come free.
        give_back(taken);
        return nullptr;
    }
    return &taken;
}

slot* pool::try_borrow_to_share() noexcept {
    const auto id = free_.take_lowest();
    if (!id) return nullptr;
    slot& taken = at(*id);
    return took_place(taken) ? &taken : nullptr;
}

// Of a bounded pool an idle slot may be what a queued job was let in for: then it is not to be had.
bool pool::took_place(slot& taken) noexcept {
    if (!places_ || places_->try_take()) return true;
    free_.release(taken.id);
    after_release();
    return false;
}

void pool::give_back(slot& borrowed) {
    if (places_) places_->give();
    free_.release(borrowed.id);
    // As a worker that goes to sleep: publish, then look again. Admission stands in for the queue here: a job
    // comes in before it is pushed and leaves after it was popped, so there is none while the queue holds
    // something to run.
    if (attention_.load(std::memory_order_seq_cst) != 0 || !jobs_in_.is_empty()) after_release();
}

slot& pool::enter_as_guest() {
    const std::lock_guard guard(lifecycle_lock_);
    slot& guest = unused_slot(0);
    guest.in_use = true;
    return guest;
}

void pool::leave_as_guest(slot& guest) noexcept {
    const std::lock_guard guard(lifecycle_lock_);
    guest.in_use = false;
}

bool pool::run_here(job& next, frame& where) {
    std::uint64_t nth = 0;
    if (!jobs_in_.enter(nth)) {
        settle_left(jobs_in_.back_out());
        return false;
    }
    where.where.stats.inlined.add();
    (void)next.claim_popped();
    settle_left(jobs_in_.leave());
    run_claimed(next, where);
    return true;
}

bool pool::run_here(shared_job& next, frame& where) {
    if (!open_here(next)) return false;
    take_part(next, where);
    return true;
}

bool pool::open_here(shared_job& next) {
    if (closed()) return false;
    list_shared(next);
    count_submitted(next.jobs());
    if (discarding_.load(std::memory_order_seq_cst)) refuse_rest(next);
    return true;
}

// Waiting.

// A thread that waits inside a job and would run what is queued. On its stack; one node per pool it can help.
struct helper {
    helper(pool& where, parker& sleeper) : home(where), waiter(sleeper) {
        const std::lock_guard guard(home.helpers_lock_);
        next = home.first_helper_;
        home.first_helper_ = this;
        home.helpers_.fetch_add(1, std::memory_order_seq_cst); // then the caller looks at the queue once more
    }
    ~helper() { remove(); }
    // False: it had been taken off the list, and this thread told that there is work.
    bool remove() noexcept {
        const std::lock_guard guard(home.helpers_lock_);
        if (!listed) return false;
        helper** link = &home.first_helper_;
        while (*link != this) link = &(*link)->next;
        *link = next;
        listed = false;
        home.helpers_.fetch_sub(1, std::memory_order_relaxed);
        return true;
    }
    helper(const helper&) = delete;
    helper& operator=(const helper&) = delete;

    pool& home;
    parker& waiter;
    helper* next = nullptr; // guarded by the pool's helpers_lock_, as is
    bool listed = true;
};

bool pool::wake_helper() noexcept {
    wake_hook::at(wake_step::looks_for_helper);
    if (helpers_.load(std::memory_order_seq_cst) == 0) return false;
    const std::lock_guard guard(helpers_lock_);
    helper* const first = first_helper_;
    if (first == nullptr) return false;
    first_helper_ = first->next; // it lists itself again when it has found nothing to do
    first->listed = false;
    helpers_.fetch_sub(1, std::memory_order_relaxed);
    first->waiter.unpark(); // under the lock: the node lives until its owner has had it
    return true;
}

wait_status pool::wait(job& which, deadline until) {
    if (which.finished()) return wait_status::woken;
    if (frame* const inside = frame::top()) {
        const wait_status status = wait_helping(which, *this, until, *inside);
        inside->env.leave(); // as it was when the wait began
        return status;
    }
    std::int64_t spin_start_ns = 0;
    if (caller_spin_.spin([&] { return which.finished(); }, spin_start_ns)) return wait_status::woken;
    parker sleeper;
    listener node;
    node.waiter = &sleeper;
    if (!which.listen(node)) return wait_status::woken;
    const wait_status status = sleeper.park(until);
    which.stop_listening(node);
    if (status == wait_status::woken) caller_spin_.slept(spin_start_ns);
    return which.finished() ? wait_status::woken : status;
}

wait_status pool::wait_helping(job& which, pool& home, deadline until, frame& inside) {
    bool told = false; // there is work that nobody else can be woken for
    for (;;) {
        // With a deadline, leave the work to workers that are free; without, or when there is none, do it
        // here.
        const bool may_take_long =
            until.is_never() || told ||
            (!home.free_.any() &&
             home.searching_.load(wake_step::reads_licence, std::memory_order_relaxed) == 0);
        // Where others are not helped with a deadline is kept, whatever that costs.
        const bool may_run_target = home.options_.helps_with_others ? may_take_long : until.is_never();
        while ((may_run_target && help_with_target(which, home)) ||
               (may_take_long && help_with_other(inside))) {
            if (which.finished()) return wait_status::woken;
            if (until.passed()) return wait_status::timed_out;
        }
        if (which.finished()) return wait_status::woken;
        inside.env.leave();

        parker sleeper;
        listener node;
        node.waiter = &sleeper;
        if (!which.listen(node)) return wait_status::woken;
        wait_status status = wait_status::woken;
        bool over = false;
        {
            // Every pool this thread has a slot of may depend on this thread to run what is queued there,
            // unless it would not: then others are to be woken in its place.
            std::optional<helper> nodes[max_helped_pools];
            std::size_t used = 0;
            bool work = false;
            for (frame* one = &inside; one != nullptr && used < max_helped_pools; one = one->outer) {
                if (!one->owner.is_helped_by(inside)) continue;
                bool listed = false;
                for (std::size_t i = 0; i < used; ++i) listed = listed || &nodes[i]->home == &one->owner;
                if (listed) continue;
                wake_hook::at(wake_step::lists_helper);
                nodes[used++].emplace(one->owner, sleeper);
                wake_hook::at(wake_step::looks_as_helper);
                if (one->owner.queue_.was_empty()) continue;
                work = true;
                // What is left to others must have been left to somebody; if there is nobody, this tells us.
                if (!may_take_long) one->owner.notify();
            }
            wake_hook::at(wake_step::parks_as_helper);
            if (!work || !may_take_long) status = sleeper.park(until);
            over = which.finished() || status != wait_status::woken;
            told = false;
            for (std::size_t i = 0; i < used; ++i) {
                if (nodes[i]->remove()) continue;
                told = true;
                // Told, and about to go away: somebody else must look.
                if (over && !nodes[i]->home.queue_.was_empty()) nodes[i]->home.notify();
            }
        }
        which.stop_listening(node);
        if (over) return which.finished() ? wait_status::woken : status;
    }
}

// Runs the job that is waited for, or takes part in it, if this thread has a slot of its pool. False: nothing
// to run.
bool pool::help_with_target(job& target, pool& home) {
    frame* const on = frame::of(home);
    if (on == nullptr) return false;
    if ((target.word() & job::shared) != 0) {
        if (!static_cast<shared_job&>(target).has_room()) return false;
        frame nested(home, on->where, on->env, false);
        nested.env.enter(target);
        home.take_part(static_cast<shared_job&>(target), nested);
        return true;
    }
    if (!target.claim_in_queue()) return false;
    if (home.places_) home.places_->give();
    home.settle_left(home.jobs_in_.leave());
    home.run_nested(target, *on, false);
    return true;
}

// Runs another job of a pool this thread has a slot of. False: nothing to run.
bool pool::help_with_other(frame& inside) {
    for (frame* one = &inside; one != nullptr; one = one->outer) {
        if (!one->owner.is_helped_by(inside)) continue;
        if (job* const other = one->owner.take_job(*one)) {
            if (one->owner.places_) one->owner.places_->give();
            one->owner.run_nested(*other, *one, true);
            return true;
        }
    }
    return false;
}

void pool::help_with_item(shared_job& which, std::uint64_t item, frame& inside) {
    if (!which.is_unclaimed(item)) return;
    frame nested(*this, inside.where, inside.env, false);
    nested.end_item = item + 1;
    nested.env.enter(which);
    take_part(which, nested);
    nested.env.leave();
}

bool pool::make_place(frame& inside) {
    job* const other = take_job(inside);
    if (other == nullptr) return false;
    if (places_) places_->give();
    run_nested(*other, inside, true);
    inside.env.leave();
    return true;
}

void pool::run_nested(job& claimed, frame& on, bool unrelated) {
    if (!queue_.was_empty()) notify(); // more than this thread can do at once
    frame nested(*this, on.where, on.env, false, unrelated);
    nested.env.enter(claimed);
    if ((claimed.word() & job::shared) != 0) {
        run_shared(static_cast<shared_job&>(claimed), nested);
    } else {
        run_claimed(claimed, nested);
    }
}

} // namespace loomy
