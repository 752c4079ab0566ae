#include "loomy/base/cpu.hpp"
#include "loomy/exec/pool.hpp"

namespace loomy {
namespace {

// Whether a worker that has run so many jobs since it slept gives its CPU to whoever waits for it, once. When
// a thread that submits short jobs wakes a worker and no CPU is idle, the system may run the worker in its
// place, which then runs all that is queued, sleeps, is woken by the next submission, and so on, each time at
// the price of a dozen jobs and more. Who yields gets its CPU back a time slice later, or is moved to
// another. After 64, 128, 256, ... jobs: where other programs have the CPUs each of them costs a time slice.
bool yields_after(std::uint32_t jobs) noexcept {
    // Not has_single_bit, which counts bits: by a call where the build names no CPU that does.
    return jobs >= 64 && (jobs & (jobs - 1)) == 0;
}

} // namespace

// A worker's thread. It owns its slot from the moment it is woken until it gives the slot's bit back, and
// sleeps in between. cpp/README.md tells the states and the races.
void pool::run_worker(slot& self, worker_env& env) {
    frame between_jobs(*this, self, env, true);
    for (;;) {
        bool searching = std::exchange(self.search_on_wake, false);
        if (!self.leave_on_wake && !make_ready(self, env)) {
            rest_unready(self, searching);
            continue;
        }
        if (self.leave_on_wake || !work_until_idle(between_jobs, env, searching)) {
            if (searching) stop_searching();
            break;
        }
        self.stats.parks.add();
        // Publish "free", then look once more (after_release): a submitter pushes, then looks for a free
        // slot, so one of the two sees the other. The licence goes in between: who finds it taken relies on
        // this look.
        free_.release(self.id);
        if (searching) searching_.store(wake_step::gives_licence_back, 0, std::memory_order_seq_cst);
        after_release();
        wake_hook::at(wake_step::parks);
        while (self.park.park() != wait_status::woken) {
        }
        self.spin.slept(std::exchange(self.spin_start_ns, 0));
    }
    env.leave();
    env.retire(self);
    if (self.ready.exchange(false, std::memory_order_seq_cst)) ready_.fetch_sub(1, std::memory_order_seq_cst);
    self.leave_on_wake = false;
    self.has_thread.store(false, std::memory_order_seq_cst);
    live_threads_.fetch_sub(1, std::memory_order_seq_cst);
    gone(self);
    // Others may have relied on this worker, the only one that was ready or had a thread, to look again.
    if (!queue_.was_empty() && !notify()) refuse_queued();
}

// Runs jobs until there is none and the search was given up. False: the worker is to leave the pool.
bool pool::work_until_idle(frame& where, worker_env& env, bool& searching) {
    for (std::uint32_t jobs = 0;;) {
        job* next = take_job(where);
        if (next == nullptr && searching) {
            env.leave();
            next = search(where);
        }
        if (next == nullptr) {
            env.leave();
            if (attention_.load(std::memory_order_seq_cst) != 0 && should_leave_now()) return false;
            std::uint32_t nobody = 0;
            if (searching ||
                !searching_.compare_exchange(wake_step::takes_licence_to_search, nobody, 1,
                                             std::memory_order_seq_cst, std::memory_order_seq_cst))
                return true;
            searching = true;
            continue;
        }
        // Still the searcher while it gets ready: if that takes long, waking more workers would only make
        // more of them wait for the same thing.
        env.enter(*next);
        if (std::exchange(searching, false)) stop_searching();
        if ((next->word() & job::shared) != 0) {
            run_shared(static_cast<shared_job&>(*next), where);
        } else {
            run_claimed(*next, where);
        }
        if ((attention_.load(std::memory_order_relaxed) & attention_shrinking) != 0 && take_retirement())
            return false;
        if (!options_.takes_turns && yields_after(++jobs)) {
            env.leave();
            give_cpu_away();
        }
    }
}

// The searcher that found work wakes the next before it runs its job, if there is more: ramp-up is a chain.
// One that leaves looks again too: a submission meanwhile relied on it.
void pool::stop_searching() {
    searching_.store(wake_step::hands_licence_on, 0, std::memory_order_seq_cst);
    if (!queue_.was_empty()) notify();
}

bool pool::make_ready(slot& self, worker_env& env) {
    if (self.ready.load(std::memory_order_relaxed)) return true;
    making_ready_.fetch_add(1, std::memory_order_seq_cst);
    const bool made = env.ready(self);
    env.leave();
    if (made) {
        ready_.fetch_add(1, std::memory_order_seq_cst);
        self.ready.store(true, std::memory_order_seq_cst);
    }
    making_ready_.fetch_sub(1, std::memory_order_seq_cst);
    return made;
}

// No worker could run a job now, or is about to. That order, as who has become ready is counted as that
// before it no longer counts as making itself ready.
bool pool::nobody_is_ready() const noexcept {
    return making_ready_.load(std::memory_order_seq_cst) == 0 && ready_.load(std::memory_order_seq_cst) == 0;
}

// This worker can run nothing. Workers that can take over; if there is none and none is being made, what is
// queued fails, and the next submission tries again.
void pool::rest_unready(slot& self, bool searching) {
    if (nobody_is_ready()) {
        wake_hook::at(wake_step::refuses_unready);
        refuse_queued(unless::somebody_is_ready);
    }
    free_.release(self.id);
    if (searching) searching_.store(wake_step::gives_licence_back, 0, std::memory_order_seq_cst);
    if (attention_.load(std::memory_order_seq_cst) != 0) let_go_of_idle_workers();
    if (!queue_.was_empty()) {
        if (nobody_is_ready()) {
            notify();
        } else {
            wake_ready();
        }
    }
    while (self.park.park() != wait_status::woken) {
    }
}

// As wake_worker, but passes over workers that would have to make themselves ready first.
void pool::wake_ready() {
    for (bool again = true; again;) {
        again = false;
        std::uint32_t nobody = 0;
        if (!searching_.compare_exchange(wake_step::passes_over_unready, nobody, 1, std::memory_order_seq_cst,
                                         std::memory_order_seq_cst))
            return;
        std::uint32_t limit = 0;
        {
            const std::lock_guard guard(lifecycle_lock_);
            limit = id_limit_;
        }
        for (std::uint32_t id = 0; id < limit; ++id) {
            slot& one = at(id);
            wake_hook::at(wake_step::takes_ready);
            if (!one.ready.load(std::memory_order_seq_cst) || !free_.try_take(id)) continue;
            if (!one.ready.load(std::memory_order_seq_cst)) { // it left in between, and the slot is new
                free_.release(id);
                continue;
            }
            one.search_on_wake = true;
            if (one.park.unpark()) wakes_.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        searching_.store(wake_step::gives_licence_up, 0, std::memory_order_seq_cst);
        for (std::uint32_t id = 0; id < limit && !again; ++id) {
            again = at(id).ready.load(std::memory_order_seq_cst) && free_.contains(id) && !queue_.was_empty();
        }
    }
    wake_helper(); // those that are ready are busy: they will look, but for who waits inside a job
}

job* pool::search(frame& where) {
    job* found = nullptr;
    const auto look = [&] {
        if (queue_.was_empty()) return attention_.load(std::memory_order_relaxed) != 0;
        found = take_job(where);
        return found != nullptr;
    };
    (void)where.where.spin.spin(look, where.where.spin_start_ns);
    return found;
}

// The next job that is still to be run, claimed. Husks of jobs abandoned in the queue are cleared away here.
job* pool::take_job(frame& where) {
    while (job* next = queue_.try_pop()) {
        if ((next->word() & job::shared) != 0) {
            auto& taken = static_cast<shared_job&>(*next);
            const bool live = entry_gone(taken);
            if (live && taken.has_room()) return next;
            if (live && places_) places_->give();
            if (next->drop_hold()) next->dispose();
            continue;
        }
        switch (next->claim_popped()) {
            case job::popped::claimed: {
                if (next->enqueued_ns != 0) {
                    // One in sixteen is measured and stands for all.
                    where.where.stats.queue_wait[bucket_of(now_ns() - next->enqueued_ns)].add(16);
                }
                settle_left(jobs_in_.leave());
                return next;
            }
            case job::popped::husk:
                break;
            case job::popped::disposable:
                next->dispose();
                break;
        }
    }
    return nullptr;
}

void pool::run_claimed(job& next, frame& where) {
    slot& at = where.where;
    job* const outer = std::exchange(where.current, &next);
    at.stats.started.add();
    interrupts::entry interruption;
    if (options_.interruptible) {
        // On a slot where another job waits below, this may wait for a delivery to that one, which may need
        // what we hold.
        if (!where.own_thread) where.env.leave();
        at.interruption.begin(interruption, next);
        if (!where.own_thread) where.env.enter(next);
    }

    frame* const below = at.running.load(std::memory_order_relaxed);
    at.running.store(&where, std::memory_order_release);
    const bool timed = at.stats.should_time();
    const std::int64_t start = timed ? now_ns() : 0;
    // Abandoned between claim and begin: the interrupt found nothing to interrupt and leaves it to us not to
    // start.
    const bool started = !options_.interruptible || !next.finished();
    const bool succeeded = started && next.run(where);
    if (!started) next.skip(where);
    if (timed) at.stats.record_run(now_ns() - start);

    // Before the answer, so that whoever has it finds it counted. What was abandoned has been counted then.
    const bool counts = !next.finished();
    owned_counter& outcome = succeeded ? at.stats.completed : at.stats.failed;
    if (counts) {
        outcome.add();
        at.stats.finished.add();
    }
    if (places_ && where.own_thread) places_->give();
    leave_before_publishing(next, where);
    at.stop_running(below);
    where.current = outer;
    if (options_.interruptible) interrupts::retract(interruption);
    const job::published end = next.publish();
    if (!counts) {
        at.stats.finished.add();
    } else if (!end.stands) {
        outcome.take_back(); // abandoned just now
    }
    if (options_.interruptible) {
        where.env.leave(); // it may wait for a delivery in progress
        at.interruption.end(started && !end.stands, [&] { watcher_.interrupt(at); });
    }
    if (end.disposable) next.dispose();
}

// Lets go before the answer is published, if that was the last: the one who waits for it then finds free what
// it needs. Callbacks run here, so with those the worker stays as it is.
void pool::leave_before_publishing(const job& ended, frame& where) {
    if (options_.takes_turns && where.own_thread && (ended.word() & (job::calling | job::orphan)) == 0 &&
        queue_.was_empty())
        where.env.leave();
}

void pool::run_shared(shared_job& next, frame& where) {
    if (next.joins(where)) {
        invite(next, 1);
        take_part(next, where);
    } else if (places_ && where.own_thread) {
        places_->give();
    }
    if (next.drop_hold()) next.dispose();
}

} // namespace loomy
