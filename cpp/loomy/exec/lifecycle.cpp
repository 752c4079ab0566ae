#include <algorithm>
#include <vector>

#include "loomy/exec/interrupter.hpp"
#include "loomy/exec/pool.hpp"

namespace loomy {

slot& pool::at(std::uint32_t id) const noexcept {
    // acquire: pairs with the release in resize; the slot behind the pointer is complete.
    return *(*blocks_[id / 64].load(std::memory_order_acquire))[id % 64].load(std::memory_order_acquire);
}

// The first slot from `from` on that nobody uses, made if need be. Under lifecycle_lock_. Throws
// std::bad_alloc.
slot& pool::unused_slot(std::uint32_t from) {
    for (std::uint32_t id = from; id < slot_set::capacity; ++id) {
        auto& block = blocks_[id / 64];
        if (block.load(std::memory_order_relaxed) == nullptr) {
            block.store(new slot_block{}, std::memory_order_release);
        }
        auto& place = (*block.load(std::memory_order_relaxed))[id % 64];
        slot* one = place.load(std::memory_order_relaxed);
        if (one == nullptr) {
            one = new slot(*this, id, options_.spin_ns);
            place.store(one, std::memory_order_release);
            if (id >= id_limit_) id_limit_ = id + 1;
        }
        if (!one->in_use) return *one;
    }
    throw std::bad_alloc();
}

bool pool::resize(std::uint32_t size) {
    std::vector<std::uint32_t> joined;
    {
        const std::lock_guard guard(lifecycle_lock_);
        if (closed()) return false;
        // Slots still to be retired are part of the present ones but not of the size.
        const std::uint32_t now = target_size_.load(std::memory_order_relaxed);
        std::uint32_t missing = size > now ? size - now : 0;
        joined.reserve(missing);
        std::vector<std::uint32_t> ids;
        ids.reserve(missing);
        // Memory first, so that nothing has changed if there is none.
        for (std::uint32_t id = 0; ids.size() < missing; id = ids.back() + 1)
            ids.push_back(unused_slot(id).id);
        target_size_.store(size, std::memory_order_release);
        while (missing > 0 && take_retirement()) --missing; // those may stay after all
        for (std::uint32_t i = 0; i < missing; ++i) {
            at(ids[i]).in_use = true;
            free_.make_room_for(ids[i]);
            joined.push_back(ids[i]);
        }
        present_.fetch_add(missing, std::memory_order_seq_cst);
        if (size < now) {
            to_retire_.fetch_add(now - size, std::memory_order_seq_cst);
            attention_.fetch_or(attention_shrinking, std::memory_order_seq_cst);
        }
    }
    for (const std::uint32_t id : joined) watcher_.worker_joined(id);
    for (const std::uint32_t id : joined) {
        if (places_) places_->give();
        free_.release(id);
        if (options_.eager_threads && free_.try_take(id) && !unpark_or_start(at(id))) free_.release(id);
    }
    after_release();
    return true;
}

void pool::announce_change() noexcept {
    changes_.fetch_add(1, std::memory_order_seq_cst);
    wake_all_at_address(&changes_);
}

wait_status pool::wait_for_size(std::uint32_t size, deadline until, const std::atomic<std::uint32_t>* stop) {
    for (;;) {
        const std::uint32_t turn = changes_.load(std::memory_order_seq_cst);
        if (stop != nullptr && stop->load(std::memory_order_seq_cst) != 0) return wait_status::woken;
        if (present_.load(std::memory_order_seq_cst) <= size) return wait_status::woken;
        // A later growth may have taken the retirements back: then nobody will leave.
        if (size != 0 && target_size_.load(std::memory_order_seq_cst) > size) return wait_status::woken;
        const wait_status status = wait_on_address(changes_, turn, until);
        if (status != wait_status::woken) {
            return present_.load(std::memory_order_seq_cst) <= size ? wait_status::woken : status;
        }
    }
}

bool pool::close_admission() {
    bool first = false;
    {
        const std::lock_guard guard(lifecycle_lock_);
        first = jobs_in_.close();
        target_size_.store(0, std::memory_order_release);
    }
    attention_.fetch_or(attention_closing, std::memory_order_seq_cst);
    if (places_) places_->announce();
    return first;
}

void pool::drain() {
    close_admission();
    if (dead()) return; // no worker will come, and none may be started
    // Without workers nobody will ever run what is queued.
    if (present_.load(std::memory_order_seq_cst) == 0) {
        discard();
        return;
    }
    if (!queue_.was_empty()) notify();
    let_go_of_idle_workers();
}

void pool::cancel_queued() {
    close_admission();
    discard_as_.store(phase::cancelled, std::memory_order_seq_cst);
    const std::uint64_t present = present_.load(std::memory_order_seq_cst);
    const std::uint64_t idle = present - std::min(present, executing());
    std::vector<job*> kept;
    try {
        kept.reserve(idle);
        while (kept.size() < idle) {
            job* const next = queue_.try_pop();
            if (next == nullptr) break;
            kept.push_back(next);
        }
    } catch (const std::bad_alloc&) {
        // Then they are cancelled as well.
    }
    refuse_queued();
    for (job* const one : kept) put_back(*one);
    drain();
}

void pool::discard() {
    close_admission();
    discarding_.store(true, std::memory_order_seq_cst);
    refuse_queued();
    let_go_of_idle_workers();
}

// For who took it out of the queue and leaves it to a worker after all. Refused if there is no memory.
void pool::put_back(job& taken) {
    try {
        queue_.push(&taken);
        return;
    } catch (const std::bad_alloc&) {
    }
    if ((taken.word() & job::shared) != 0) {
        auto& open = static_cast<shared_job&>(taken);
        if (entry_gone(open) && places_) places_->give();
        refuse_rest(open);
    } else {
        abandon(taken, discard_as_.load(std::memory_order_seq_cst));
    }
    if (taken.drop_hold()) taken.dispose();
}

// Fails everything that has not started. Whether somebody is ready is asked after something was found, and
// again for the next: it may have been submitted when somebody was, though nobody was before.
void pool::refuse_queued(unless it_is_not_to_be) {
    const auto leave_it = [&] { return it_is_not_to_be == unless::somebody_is_ready && !nobody_is_ready(); };
    while (job* next = queue_.try_pop()) {
        if (leave_it()) {
            put_back(*next);
            // A pool that discards was searched while this one was not in the queue.
            if (discarding_.load(std::memory_order_seq_cst)) refuse_queued();
            return;
        }
        if ((next->word() & job::shared) != 0) {
            if (entry_gone(static_cast<shared_job&>(*next)) && places_) places_->give();
        } else {
            abandon(*next, discard_as_.load(std::memory_order_seq_cst));
        }
        if (next->drop_hold()) next->dispose();
    }
    for (;;) {
        shared_job* open = nullptr;
        {
            const std::lock_guard guard(shared_lock_);
            for (open = first_shared_; open != nullptr && !open->is_refusable();) open = open->next_;
            if (open != nullptr) open->add_hold();
        }
        if (open == nullptr) return;
        const bool left = leave_it();
        if (!left) refuse_rest(*open);
        if (open->drop_hold()) open->dispose();
        if (left) return;
    }
}

namespace {

// One after the other, as a copy of them all needs memory.
ref<cancel_token> next_to_cancel(slot& where) {
    const std::lock_guard guard(where.tokens_lock);
    for (const ref<cancel_token>& one : where.tokens) {
        if (one->poll() == cancel_reason::none) return one;
    }
    return {};
}

} // namespace

void pool::stop_running() {
    stopping_all_.store(true, std::memory_order_seq_cst); // pairs with register_token
    std::uint32_t limit = 0;
    {
        const std::lock_guard guard(lifecycle_lock_);
        limit = id_limit_;
    }
    // Whoever waits for a job that may never end goes on. Before the jobs are told: else one that heeds its
    // token on another CPU would have ended by then, and were cancelled or not by chance.
    for (std::uint32_t id = 0; id < limit; ++id) {
        for (job* const one : hold_running(at(id))) {
            if ((one->word() & job::shared) != 0) {
                abandon(static_cast<shared_job&>(*one), phase::cancelled);
            } else {
                abandon(*one, phase::cancelled);
            }
            if (one->drop_hold()) one->dispose();
        }
    }
    for (std::uint32_t id = 0; id < limit; ++id) {
        while (const ref<cancel_token> token = next_to_cancel(at(id))) token->cancel();
    }
}

// The jobs that run on a slot, each with a hold: the innermost first, then those that wait for it below.
std::vector<job*> pool::hold_running(slot& where) {
    std::vector<job*> found;
    where.pins.fetch_add(1,
                         std::memory_order_seq_cst); // pairs with stop_running: no frame goes away meanwhile
    try {
        for (const frame* one = where.running.load(std::memory_order_seq_cst); one != nullptr;
             one = one->outer) {
            if (&one->where != &where || one->current == nullptr) continue;
            found.push_back(one->current);
            one->current->add_hold();
        }
    } catch (const std::bad_alloc&) {
        // Those that were found are better than none.
    }
    where.pins.fetch_sub(1, std::memory_order_seq_cst);
    return found;
}

void pool::interrupt_running(const job* which) {
    const bool runs_once = which != nullptr && (which->word() & job::shared) == 0;
    std::uint32_t limit = 0;
    {
        const std::lock_guard guard(lifecycle_lock_);
        limit = id_limit_;
    }
    for (std::uint32_t id = 0; id < limit; ++id) {
        slot& one = at(id);
        const bool found = one.interruption.request(which, [&] { watcher_.interrupt(one); });
        if (found && runs_once) return;
    }
}

// After a slot's bit was given back.
void pool::after_release() {
    wake_hook::at(wake_step::reads_attention);
    if (attention_.load(std::memory_order_seq_cst) != 0) let_go_of_idle_workers();
    wake_hook::at(wake_step::looks_at_queue);
    if (!queue_.was_empty()) notify();
}

// One of the workers that are to go, if any is; the caller sees to it that one does.
bool pool::take_retirement() noexcept {
    std::uint32_t left = to_retire_.load(std::memory_order_seq_cst);
    while (left != 0) {
        if (!to_retire_.compare_exchange_weak(left, left - 1, std::memory_order_seq_cst)) continue;
        return true;
    }
    return false;
}

bool pool::should_leave_now() noexcept {
    const std::uint32_t why = attention_.load(std::memory_order_seq_cst);
    if ((why & attention_closing) != 0 && jobs_in_.is_empty()) return true;
    return (why & attention_shrinking) != 0 && take_retirement();
}

// Sends away workers that sleep: all of them once a closed pool has nothing queued, else as many as are to
// retire.
void pool::let_go_of_idle_workers() {
    for (;;) {
        const std::uint32_t why = attention_.load(std::memory_order_seq_cst);
        if (why == 0 || !free_.any()) return;
        const bool all = (why & attention_closing) != 0 && jobs_in_.is_empty();
        if (!all && !take_retirement()) return;
        if (const auto id = free_.take_highest()) {
            send_away(at(*id));
        } else if (!all) {
            to_retire_.fetch_add(1,
                                 std::memory_order_seq_cst); // look again: one may have become free meanwhile
        }
    }
}

void pool::send_away(slot& taken) {
    if (taken.has_thread.load(std::memory_order_relaxed)) {
        taken.leave_on_wake = true;
        taken.park.unpark();
        return;
    }
    gone(taken);
}

void pool::gone(slot& left) {
    watcher_.worker_left(left.id);
    if (places_) places_->take();
    bool last = false;
    {
        const std::lock_guard guard(lifecycle_lock_);
        left.in_use = false;
        last = present_.fetch_sub(1, std::memory_order_seq_cst) == 1;
    }
    announce_change();
    // The last worker of a closed pool clears away what was abandoned in the queue. Nobody will run what a
    // submitter that was counted before the close has yet to push: it refuses that itself (pool::submit).
    if (last && closed()) {
        discarding_.store(true, std::memory_order_seq_cst);
        refuse_queued();
    }
}

void pool::die_in_child() noexcept {
    dead_.store(true, std::memory_order_seq_cst);
    jobs_in_.close();
    new (&lifecycle_lock_) std::mutex;
    new (&helpers_lock_) std::mutex;
    new (&shared_lock_) std::mutex;
    first_helper_ = nullptr; // on stacks of threads that are not here
    helpers_.store(0, std::memory_order_relaxed);
    // The thread that forked may be inside a job, and leaves it.
    for (std::uint32_t id = 0; id < id_limit_; ++id) at(id).die_in_child();
}

} // namespace loomy
