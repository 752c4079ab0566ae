#include "loomy/exec/pool.hpp"

#include <algorithm>

#include "loomy/exec/interrupter.hpp"

namespace loomy {

pool::pool(const pool_options& options, observer& watcher)
    : options_(options), watcher_(watcher), caller_spin_(options.spin_ns) {
    if (options.max_pending >= 0) places_.emplace(options.max_pending);
}

pool::~pool() {
    // The owner closed the pool, and every thread of it holds a reference: only abandoned jobs can be left.
    while (job* left = queue_.try_pop()) {
        if (left->drop_hold()) left->dispose();
    }
    for (auto& block : blocks_) {
        slot_block* const slots = block.load(std::memory_order_relaxed);
        if (slots == nullptr) continue;
        for (auto& one : *slots) delete one.load(std::memory_order_relaxed);
        delete slots;
    }
}

// So many that it may be a new peak when the nth entry is in, which brings so many jobs; or 0.
std::uint64_t pool::depth_to_note(std::uint64_t nth, std::uint64_t jobs) noexcept {
    if (jobs_in_.depth_as_known(nth) + jobs - 1 <= peak_queued_.load(std::memory_order_relaxed)) return 0;
    std::uint64_t depth = jobs_in_.depth(nth);
    if (places_) depth = std::min(depth, places_->taken()); // as queue_length sees it
    return depth + jobs - 1;
}

void pool::note_depth(std::uint64_t depth) noexcept {
    // No locked instruction for a number to look at: of two submitters that raise it at once the lower may
    // win, and the next submission puts it right.
    if (depth > peak_queued_.load(std::memory_order_relaxed))
        peak_queued_.store(depth, std::memory_order_relaxed);
}

submitted pool::admit(job& next, std::uint64_t jobs) {
    if (places_ && !places_->try_take()) return closed() ? submitted::closed : submitted::full;
    std::uint64_t nth = 0;
    wake_hook::at(wake_step::counts_job);
    if (jobs_in_.enter(nth)) {
        const std::uint64_t depth = depth_to_note(nth, jobs);
        if (jobs != 1) jobs_in_.count_submitted(jobs - 1);
        if ((nth & 15) == 1) next.enqueued_ns = now_ns(); // every sixteenth wait is measured
        try {
            wake_hook::at(wake_step::pushes_job);
            queue_.push(&next);
        } catch (...) {
            if (jobs != 1) jobs_in_.uncount_submitted(jobs - 1);
            back_out();
            throw;
        }
        note_depth(depth);
        return submitted::accepted;
    }
    back_out();
    return submitted::closed;
}

// What was counted in is not to be.
void pool::back_out() {
    settle_left(jobs_in_.back_out());
    if (places_) places_->give();
}

submitted pool::submit(job& next) {
    const submitted answer = admit(next, 1);
    if (answer != submitted::accepted) return answer;
    // A pool that was closed between our entry and our push has been searched for jobs to refuse before this
    // one.
    if (discarding_.load(std::memory_order_seq_cst)) refuse_queued();
    if (notify()) return submitted::accepted;
    // No thread to run it, and none could be started: take it back, unless somebody helps meanwhile.
    const job::abandoned how = next.abandon(phase::refused, true);
    if (how == job::abandoned::no) return submitted::accepted;
    back_out();
    (void)next.drop_hold(); // the one abandon took; the queue keeps its own
    return submitted::no_thread;
}

wait_status pool::wait_for_place(deadline until, const std::atomic<std::uint32_t>* stop) noexcept {
    return places_->wait(
        until, [&] { return closed() || (stop != nullptr && stop->load(std::memory_order_seq_cst) != 0); });
}

bool pool::notify() {
    if (searching_.load(wake_step::reads_licence, std::memory_order_seq_cst) != 0) return true;
    return wake_worker();
}

// Slow path of notify: gives the one searching licence to a sleeping worker.
bool pool::wake_worker() {
    for (;;) {
        if (!free_.any()) {
            // Nobody sleeps. Who is busy looks at the queue before it sleeps; who waits inside a job must be
            // told.
            wake_helper();
            return true;
        }
        std::uint32_t nobody = 0;
        if (!searching_.compare_exchange(wake_step::takes_licence, nobody, 1, std::memory_order_seq_cst,
                                         std::memory_order_seq_cst))
            return true;
        bool refused = false;
        if (wake_lowest(refused)) return true;
        // Nobody was woken. A slot given back while we held the licence found us "searching" and relied on
        // us, so look again.
        searching_.store(wake_step::gives_licence_up, 0, std::memory_order_seq_cst);
        wake_hook::at(wake_step::looks_again);
        if (queue_.was_empty()) return true;
        if (!refused) continue;
        // The system has no more threads. Those that there are look at the queue before they sleep, but for
        // those that wait inside jobs.
        if (any_free_with_thread()) continue;
        if (wake_helper() || live_threads_.load(std::memory_order_seq_cst) != 0) return true;
        if (closed()) refuse_queued(); // nobody will come any more who could run it
        return false;
    }
}

bool pool::any_free_with_thread() const noexcept {
    std::uint32_t limit = 0;
    {
        const std::lock_guard guard(lifecycle_lock_);
        limit = id_limit_;
    }
    for (std::uint32_t id = 0; id < limit; ++id) {
        if (at(id).has_thread.load(std::memory_order_seq_cst) && free_.contains(id)) return true;
    }
    return false;
}

// Takes the lowest free slot whose thread runs, or can be started. Slots for which the system has no thread
// stay free, for callers and for another try.
bool pool::wake_lowest(bool& refused) {
    slot* threadless = nullptr;
    bool woken = false;
    while (const auto id = free_.take_lowest()) {
        slot& taken = at(*id);
        taken.search_on_wake = true;
        woken = unpark_or_start(taken);
        if (woken) break;
        taken.search_on_wake = false;
        refused = true;
        taken.set_aside = std::exchange(threadless, &taken);
    }
    if (threadless == nullptr) return woken;
    do {
        slot& one = *std::exchange(threadless, threadless->set_aside);
        free_.release(one.id);
    } while (threadless != nullptr);
    // Who let go of idle workers meanwhile did not find these.
    if (attention_.load(std::memory_order_seq_cst) != 0) let_go_of_idle_workers();
    return woken;
}

bool pool::unpark_or_start(slot& taken) {
    wake_hook::at(wake_step::unparks);
    if (taken.has_thread.load(std::memory_order_relaxed)) {
        if (taken.park.unpark()) wakes_.fetch_add(1, std::memory_order_relaxed);
        return true;
    }
    taken.has_thread.store(true, std::memory_order_seq_cst);
    live_threads_.fetch_add(1, std::memory_order_seq_cst);
    retain(); // the thread's reference
    if (watcher_.start_thread(taken)) {
        wakes_.fetch_add(1, std::memory_order_relaxed);
        return true;
    }
    taken.has_thread.store(false, std::memory_order_seq_cst);
    live_threads_.fetch_sub(1, std::memory_order_seq_cst);
    release();
    return false;
}

void pool::settle_left(admission::left what) {
    // The last queued job of a closed pool is gone: who sleeps has nothing to wait for any more.
    if (what == admission::left::closed_and_empty) let_go_of_idle_workers();
}

bool pool::abandon(job& which, phase as) {
    const job::abandoned how = which.abandon(as);
    if (how == job::abandoned::no) return false;
    after_abandon(which, how, as);
    return true;
}

bool pool::abandon_queued(job& which, phase as) {
    const job::abandoned how = which.abandon(as, true);
    if (how == job::abandoned::no) return false;
    after_abandon(which, how, as);
    return true;
}

void pool::after_abandon(job& which, job::abandoned how, phase as) {
    const bool was_running = how == job::abandoned::while_running;
    admission::left left = admission::left::open;
    if (!was_running) {
        left = jobs_in_.leave();
        if (places_) places_->give();
    }
    abandoned_count(as).fetch_add(1, std::memory_order_relaxed);
    which.on_abandoned(as, was_running);
    if (was_running && options_.interruptible) interrupter::instance().deliver(*this, &which);
    if ((which.word() & (job::waiting | job::calling)) != 0) which.tell_listeners();
    if (which.drop_hold()) which.dispose();
    settle_left(left);
}

void pool::end_unsubmitted(job& which, phase as) {
    count_submitted(1);
    abandoned_count(as).fetch_add(1, std::memory_order_relaxed);
    (void)which.abandon(as);
    which.on_abandoned(as, false);
    (void)which.drop_hold(); // abandon's
    (void)which.drop_hold(); // the queue's; the owner is here
}

void pool::register_token(frame& where, const ref<cancel_token>& token) {
    {
        const std::lock_guard guard(where.where.tokens_lock);
        where.where.tokens.push_back(token);
    }
    // Sequentially consistent with stop_running: it set the flag before it looks at the tokens, so either it
    // sees this one or this sees the flag.
    if (stopping_all()) token->cancel();
}

void pool::unregister_token(frame& where, const cancel_token& token) noexcept {
    ref<cancel_token> last; // released outside the lock
    const std::lock_guard guard(where.where.tokens_lock);
    auto& tokens = where.where.tokens;
    for (auto one = tokens.begin(); one != tokens.end(); ++one) {
        if (one->get() != &token) continue;
        last = std::move(*one);
        tokens.erase(one);
        return;
    }
}

} // namespace loomy
