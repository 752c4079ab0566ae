#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "loomy/base/clock.hpp"
#include "loomy/base/ref.hpp"
#include "loomy/exec/admission.hpp"
#include "loomy/exec/frame.hpp"
#include "loomy/exec/job.hpp"
#include "loomy/exec/observer.hpp"
#include "loomy/exec/shared_job.hpp"
#include "loomy/exec/slot.hpp"
#include "loomy/exec/slot_set.hpp"
#include "loomy/exec/stats.hpp"
#include "loomy/exec/wake_step.hpp"
#include "loomy/sync/mpmc_queue.hpp"
#include "loomy/sync/stepped_atomic.hpp"

namespace loomy {

struct helper;

struct pool_options {
    std::int64_t max_pending = -1; // exact bound on queued jobs; negative: none
    std::int64_t spin_ns = -1;     // how long an idle worker may spin; negative: adaptive
    bool interruptible = false;    // the observer wants interrupt() for abandoned jobs
    bool eager_threads = false;    // workers make themselves ready when they join, not at their first job
    // Threads that are in their env run one at a time. Then a worker without more jobs leaves it before it
    // publishes the answer; else one that has run many jobs in a row lets others have its CPU.
    bool takes_turns = true;
    bool helps_with_others =
        true; // who waits inside a job runs other queued jobs too, not only what it awaits
};

enum class submitted : std::uint8_t {
    accepted,
    closed,    // the pool takes no more jobs
    full,      // the bounded queue is full
    no_thread, // no worker thread could be started, and there is none
};

// Workers, a queue and a lifecycle. The notes beside the code (cpp/README.md) tell how they work together.
class pool final : public ref_counted<pool> {
  public:
    pool(const pool_options& options, observer& watcher);
    ~pool();

    // Jobs (pool.cpp).

    // Puts a pending job with one hold into the queue and sees to it that a worker will look. Lock-free, but
    // for the start of a thread. Throws std::bad_alloc; unless accepted the job is as it was, but
    // `no_thread`: then it is refused, and a husk in the queue, whose hold it keeps until that comes upon it.
    [[nodiscard]] submitted submit(job& next);
    // What submit does after it found `full`: waits until there may be a place. Blocking.
    // Returns `woken` as well when `stop` (a cancel token's flag, may be null) is raised and announce_places
    // called.
    [[nodiscard]] wait_status wait_for_place(deadline until, const std::atomic<std::uint32_t>* stop) noexcept;
    void announce_places() noexcept {
        if (places_) places_->announce();
    }
    // Inside a job of this pool: runs one queued job on the slot of `inside`, to make place. False: none was
    // queued.
    bool make_place(frame& inside);
    // An item of a batch that ran while the batch was abandoned as `as`.
    void count_abandoned_item(phase as) noexcept {
        abandoned_count(as).fetch_add(1, std::memory_order_relaxed);
    }
    // A job that counts as one came to its end: on the slot of `where`, or elsewhere (null).
    enum class count_as : std::uint8_t { nothing, completed, failed, cancelled, timed_out };
    void count_end(frame* where, bool was_started, count_as what) noexcept;
    void count_rejected() noexcept { rejected_.fetch_add(1, std::memory_order_relaxed); }
    // Books for a call that its own thread runs without a job object; the slot's counters take the rest.
    void count_submitted(std::uint64_t jobs) noexcept { jobs_in_.count_submitted(jobs); }

    // Ends a job from outside; true if this call did it. Everything that follows from it has been done then.
    bool abandon(job& which, phase as);
    // Only if it has not started.
    bool abandon_queued(job& which, phase as);
    // The same for a shared job: its items that have not started never will.
    bool abandon(shared_job& which, phase as);
    // What has not started of it never will, and those who take part are asked to end; it has ended when the
    // last of them has. False: it had ended.
    bool stop(shared_job& which, phase as);

    // A job that was over before it could be submitted: its context was cancelled, or its deadline had
    // passed.
    void end_unsubmitted(job& which, phase as);

    // Puts it into the queue, for any number of workers to take part in. It takes one place.
    [[nodiscard]] submitted submit(shared_job& next);
    // Asks for one more worker to take part in it, one of those who do. Throws nothing.
    void invite(shared_job& open, std::uint32_t joining);
    // The calling thread takes part on the slot of `where` until nothing is left to start.
    void take_part(shared_job& which, frame& where);

    // Callers that help (helping.cpp).

    // A free slot for the calling thread, if the pool is open and nothing is queued before it; or null.
    [[nodiscard]] slot* try_borrow();
    void give_back(slot& borrowed);
    // A slot beyond the pool's size, for a caller that runs what the queue had no place for. Throws
    // std::bad_alloc.
    [[nodiscard]] slot& enter_as_guest();
    void leave_as_guest(slot& guest) noexcept;
    // Runs a job that was not queued, on the slot of `where`. False: the pool is closed, the job is as it
    // was.
    [[nodiscard]] bool run_here(job& next, frame& where);
    // The same for a shared job.
    [[nodiscard]] bool run_here(shared_job& next, frame& where);
    // Its first half: in the books, but in no queue; the caller takes part in it next.
    [[nodiscard]] bool open_here(shared_job& next);

    // A free slot whatever is queued: for taking part in a shared job.
    [[nodiscard]] slot* try_borrow_to_share() noexcept;

    // Whether what is queued will be run on the slot `mine`, which the calling thread is on, or nowhere:
    // nobody is free, and who is on each other slot is reluctant to help. Blocking, for a few instructions.
    [[nodiscard]] bool depends_on(const slot& mine) const noexcept;

    // Waits until the job has finished. Inside a job of any pool it helps instead: it runs the job itself if
    // that is still queued in a pool this thread has a slot of, else whatever those of these pools have
    // queued that want it (pool_options). `interrupted` and `timed_out` as parker::park. Blocking.
    [[nodiscard]] wait_status wait(job& which, deadline until);

    // Inside a job of this pool: runs that item of a shared job, and those before it, as far as nobody has
    // begun them; nothing else. Called and left detached.
    void help_with_item(shared_job& which, std::uint64_t item, frame& inside);

    // The worker's thread (worker.cpp).

    void run_worker(slot& self, worker_env& env);

    // Lifecycle (lifecycle.cpp).

    // Throws std::bad_alloc; nothing has changed then. Growing is immediate; shrinking lets idle workers go
    // now and busy ones after their job. False: the pool is closed.
    bool resize(std::uint32_t size);
    [[nodiscard]] std::uint32_t size() const noexcept { return target_size_.load(std::memory_order_acquire); }
    // Waits until no more workers are left than `size`, or until `stop` (a cancel token's flag, may be null)
    // is raised and announce_change called. Blocking.
    [[nodiscard]] wait_status wait_for_size(std::uint32_t size, deadline until,
                                            const std::atomic<std::uint32_t>* stop = nullptr);
    void announce_change() noexcept;
    [[nodiscard]] std::uint32_t workers() const noexcept { return present_.load(std::memory_order_seq_cst); }

    // Stops admission; true for the first call. What is queued is still run (by drain) or fails (by discard).
    bool close_admission();
    void drain();
    void discard();
    // Stops admission and cancels what has not started, but for the jobs that idle workers are about to take:
    // those are as good as running.
    void cancel_queued();
    // Stops the contexts of what is running, and interrupts it.
    void stop_running();
    // Tells the worker that runs `which`, all of them if it is shared (null: every worker), that its job was
    // abandoned. The interrupter's thread.
    void interrupt_running(const job* which);
    [[nodiscard]] bool closed() const noexcept { return jobs_in_.is_closed(); }
    // In the child of a fork: no worker exists, nothing will ever finish.
    void die_in_child() noexcept;
    [[nodiscard]] bool dead() const noexcept { return dead_.load(std::memory_order_relaxed); }

    // What a job of this pool needs (pool.cpp).

    // A running job's token, for stop_running. The frame's thread only.
    void register_token(frame& where, const ref<cancel_token>& token);
    void unregister_token(frame& where, const cancel_token& token) noexcept;
    [[nodiscard]] bool stopping_all() const noexcept { return stopping_all_.load(std::memory_order_seq_cst); }

    // Numbers (stats.cpp).

    [[nodiscard]] const pool_options& options() const noexcept { return options_; }

    [[nodiscard]] std::uint64_t queue_length() const noexcept;
    [[nodiscard]] std::uint64_t executing() const noexcept; // functions started and not returned
    [[nodiscard]] pool_stats stats() const noexcept;

  private:
    friend struct helper;

    static constexpr std::uint32_t attention_closing = 1;
    static constexpr std::uint32_t attention_shrinking = 2;

    using slot_block = std::array<std::atomic<slot*>, 64>;

    [[nodiscard]] std::atomic<std::uint64_t>& abandoned_count(phase as) noexcept {
        return as == phase::timed_out ? timed_out_ : as == phase::cancelled ? cancelled_ : refused_;
    }

    // pool.cpp
    // There may be work: somebody should look, unless somebody is looking already. False: nobody could be
    // made to.
    bool notify();
    bool wake_worker();
    bool wake_lowest(bool& refused);
    [[nodiscard]] bool any_free_with_thread() const noexcept;
    bool unpark_or_start(slot& taken);
    [[nodiscard]] submitted admit(job& next, std::uint64_t jobs);
    void back_out();
    [[nodiscard]] std::uint64_t depth_to_note(std::uint64_t nth, std::uint64_t jobs) noexcept;
    void note_depth(std::uint64_t depth) noexcept;
    void after_abandon(job& which, job::abandoned how, phase as);
    void settle_left(admission::left what);

    // worker.cpp
    [[nodiscard]] job* take_job(frame& where);
    [[nodiscard]] job* search(frame& where);
    void run_claimed(job& next, frame& where);
    void leave_before_publishing(const job& ended, frame& where);
    void run_shared(shared_job& next, frame& where);
    [[nodiscard]] bool work_until_idle(frame& where, worker_env& env, bool& searching);
    void stop_searching();
    bool make_ready(slot& self, worker_env& env);
    [[nodiscard]] bool nobody_is_ready() const noexcept;
    void rest_unready(slot& self, bool searching);
    void wake_ready();

    // lifecycle.cpp
    void after_release();
    void let_go_of_idle_workers();
    [[nodiscard]] bool should_leave_now() noexcept;
    bool take_retirement() noexcept;
    void send_away(slot& taken);
    [[nodiscard]] static std::vector<job*> hold_running(slot& where);
    void gone(slot& left);
    enum class unless : std::uint8_t { nothing, somebody_is_ready };
    void refuse_queued(unless it_is_not_to_be = unless::nothing);
    void put_back(job& taken);
    void refuse_rest(shared_job& open);
    [[nodiscard]] slot& at(std::uint32_t id) const noexcept;
    [[nodiscard]] slot& unused_slot(std::uint32_t from);

    // stats.cpp
    [[nodiscard]] pool_stats read_stats() const noexcept;
    [[nodiscard]] std::uint64_t queued_in_shared() const noexcept;

    // shared_job.cpp
    [[nodiscard]] bool entry_queued(shared_job& which) noexcept;
    bool entry_gone(shared_job& which);

    // helping.cpp
    static constexpr std::size_t max_helped_pools = 8; // pools one thread can be inside of and still help all
    [[nodiscard]] bool took_place(slot& taken) noexcept;
    // Jobs that nobody on the thread waits for and that it runs inside each other: each takes stack, and is
    // over only when all above it are.
    static constexpr std::uint32_t most_unrelated = 32;
    bool wake_helper() noexcept;
    [[nodiscard]] bool is_helped_by(const frame& inside) const noexcept {
        return options_.helps_with_others && inside.unrelated_below < most_unrelated;
    }
    [[nodiscard]] static bool help_with_target(job& target, pool& home);
    [[nodiscard]] static bool help_with_other(frame& inside);
    [[nodiscard]] static wait_status wait_helping(job& which, pool& home, deadline until, frame& inside);
    void run_nested(job& claimed, frame& on, bool unrelated);

    // shared_job.cpp
    void finish_shared(shared_job& ended, frame* where);
    void end_abandoned(shared_job& which, shared_job::range rest, phase as);
    void list_shared(shared_job& open);
    void unlist_shared(shared_job& open) noexcept;

    // Hot words first, each group on its own line: submitters and workers write one half of jobs_in_ each,
    // everybody reads searching_ and the free slots, and only rarely does somebody write attention_.
    admission jobs_in_;
    std::atomic<std::uint64_t> peak_queued_{0};
    // 1: one worker is looking for work, or being woken to.
    alignas(cache_line) stepped_atomic<std::uint32_t, wake_hook, wake_step> searching_;
    std::atomic<std::uint32_t> attention_{0}; // attention_* bits
    std::atomic<std::uint32_t> helpers_{0};   // threads parked inside jobs, able to help
    slot_set free_;
    mpmc_queue<job, wake_hook> queue_;

    const pool_options options_;
    observer& watcher_;
    spin_budget caller_spin_;
    std::optional<places> places_; // only of a bounded pool

    std::atomic<std::uint64_t> cancelled_{0}, timed_out_{0}, refused_{0}, rejected_{0}, wakes_{0};
    std::atomic<std::uint64_t> completed_off_slots_{0}, failed_off_slots_{0}, finished_off_slots_{0};
    std::atomic<std::uint64_t> shared_entries_{0}; // of what jobs_in_ counts, how many are shared jobs
    std::atomic<std::uint64_t> live_threads_{0};
    std::atomic<std::uint32_t> making_ready_{0}, ready_{0}; // workers

    mutable std::mutex lifecycle_lock_; // the table of slots and its size; nothing is called under it
    std::array<std::atomic<slot_block*>, slot_set::capacity / 64> blocks_{};
    std::uint32_t id_limit_ = 0; // every slot ever made has an id below this; guarded by lifecycle_lock_
    std::atomic<std::uint32_t> target_size_{0};
    std::atomic<std::uint32_t> present_{0}; // slots that have joined and not left
    std::atomic<std::uint32_t> to_retire_{0};
    std::atomic<std::uint32_t> changes_{0}; // bumped when a slot has left; waited on
    std::atomic<bool> stopping_all_{false};
    std::atomic<bool> discarding_{false};
    std::atomic<phase> discard_as_{phase::refused};
    std::atomic<bool> dead_{false};

    std::mutex helpers_lock_;
    helper* first_helper_ = nullptr; // guarded by helpers_lock_

    mutable std::mutex shared_lock_;
    shared_job* first_shared_ = nullptr; // guarded by shared_lock_
};

} // namespace loomy
