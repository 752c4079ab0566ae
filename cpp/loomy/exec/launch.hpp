#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

#include "loomy/base/ref.hpp"
#include "loomy/exec/pool.hpp"
#include "loomy/exec/shared_job.hpp"
#include "loomy/kernel.h"
#include "loomy/kernel/error_watch.hpp"
#include "loomy/kernel/failure.hpp"
#include "loomy/kernel/pace.hpp"
#include "loomy/kernel/partition.hpp"
#include "loomy/kernel/segments.hpp"
#include "loomy/sync/cancel_token.hpp"

namespace loomy {

class launch;

// A chunk as its kernel sees it, and what the host has to know of it.
struct chunk_call : loomy_call {
    frame* where;
    // The error of the last loop inside it that failed: what a chunk means that returns the loop's code. A
    // chunk that makes nothing of it leaves it to nobody. The chunk's own thread only.
    mutable std::unique_ptr<first_failure> of_loop;
    error_watch errors; // of the thread it runs on

    // Of what a kernel has, which may be a copy.
    [[nodiscard]] static chunk_call& of(const loomy_call* seen) noexcept {
        return *static_cast<chunk_call*>(seen->host);
    }
};

// What to launch. All that is pointed to stays valid until launch::released.
struct launch_request {
    const loomy_kernel* kernel = nullptr; // one that kernel_fault has nothing to say about
    const loomy_buffer* args = nullptr;
    std::uint32_t nargs = 0;
    std::int64_t total = 0;        // items, at most partition::most_items
    std::int64_t chunks = 0;       // > 0: a fixed partition
    std::int64_t grain = 0;        // 0: the kernel's
    void* user_data = nullptr;     // null: the kernel's
    cost_estimate* cost = nullptr; // remembers what an item costs, from launch to launch
};

// What is wrong with it as a kernel, for people; null if nothing is.
[[nodiscard]] const char* kernel_fault(const loomy_kernel* kernel) noexcept;

struct launch_outcome {
    // done: it ran to its end or failed. cancelled, timed_out, refused: it did not.
    phase as = phase::done;
    int code = LOOMY_OK;           // done: LOOMY_OK or the first error
    std::string_view message = {}; // of the error; the launch has it. For LOOMY_EPANIC, the C++ exception
    index_range where{0, 0};       // the items of the chunk that failed,
    bool is_of_loop = false;       // or of a part of a loop inside it
};

// One run of a kernel: one job in the books, with chunks that any number of workers claim. It is run detached
// from whatever its workers are else attached to, from the submission to the end.
//
// Life: made by its owner, with the hold that submitting takes; then launch_queued or launch_sharing, once;
// then the owner may wait (pool::wait), stop it (pool::stop: it ends with its chunks) or abandon it
// (pool::abandon: it has its answer at once, and its chunks end later); at last the owner lets go
// (job_handle). Listeners work as for any job. `released` tells when the kernel no longer uses anything.
class launch : public shared_job, private cancel_token::callback {
  public:
    // Whether its answer may come before its last chunk has ended.
    enum class ends : std::uint8_t { when_asked, with_its_chunks };

    launch(pool& home, const launch_request& what, ends how = ends::when_asked);

    // Once it has finished.
    [[nodiscard]] launch_outcome outcome() const noexcept;
    // The interpreter's error object of LOOMY_EPYTHON; the caller's. Null: none, or taken.
    [[nodiscard]] void* take_foreign_error() noexcept { return failure_.take_foreign(); }

    // Whether a chunk was started.
    [[nodiscard]] bool has_started() const noexcept { return !is_untouched(); }
    [[nodiscard]] const loomy_launch& shared_part() const noexcept { return record_; }
    [[nodiscard]] pool& home() const noexcept { return *home_; }
    // Whose part a kernel has, or a copy of it.
    [[nodiscard]] static launch& of(const loomy_launch* seen) noexcept {
        return *static_cast<launch*>(seen->host);
    }

    // The scheduler's side.

    [[nodiscard]] std::uint64_t jobs() const noexcept final { return is_nested() ? 0 : 1; }
    [[nodiscard]] std::uint64_t queued_jobs() const noexcept final { return is_untouched() ? jobs() : 0; }
    [[nodiscard]] bool has_room() const noexcept final;
    [[nodiscard]] bool wants_more(std::uint32_t joining) const noexcept final;
    bool joins(frame&) final { return joined_.load(std::memory_order_relaxed) < record_.num_workers; }
    std::uint64_t take_part(frame& where) final;
    [[nodiscard]] range claim_refused() noexcept final { return claim_whole(); }
    [[nodiscard]] bool is_refusable() const noexcept final { return is_untouched(); }
    std::uint64_t items_abandoned(range which, phase as) final;
    std::uint64_t items_refused(range which, phase as) final;
    void ended(frame* where) final;
    void raise_stop(phase as) final;
    [[nodiscard]] bool can_be_abandoned() const noexcept final { return ends_ == ends::when_asked; }
    void on_abandoned(phase as, bool was_running) override;
    void dispose() override { delete this; }

    // The kernel's side: kernel_host.cpp.

    // The first is kept, and stops the chunks.
    int report(int code, std::string_view message, index_range where) noexcept;

  protected:
    // A loop inside a chunk, which sees `outer`.
    launch(pool& home, std::int64_t total, std::int64_t grain, const loomy_launch& outer, loomy_run_fn part);
    virtual ~launch() = default;

    // No chunk runs any more, and what the request pointed to is not used again. Once, before the answer is
    // given (unless it was abandoned), on any thread, detached or not.
    virtual void released() {}

  private:
    friend submitted launch_queued(pool& on, launch& what, const ref<cancel_token>& token);
    friend int run_nested_loop(const loomy_call& call, std::int64_t begin, std::int64_t end,
                               std::int64_t grain, loomy_range_fn fn, void* context);
    friend submitted launch_sharing(pool& on, launch& what, worker_env& env, const ref<cancel_token>& token);

    // Whether there is something to run; if not, it has ended.
    [[nodiscard]] bool prepare();
    void end_without_chunks();
    // Once submitted. From now on a cancelled token, or its deadline, ends it.
    void watch(const ref<cancel_token>& token);
    [[nodiscard]] submitted submit_to(pool& on, const ref<cancel_token>& token);
    [[nodiscard]] submitted share_on(frame& where, const ref<cancel_token>& token);
    // Keeps a place for this thread, which submits it and then takes part.
    void seat(const frame& where) noexcept {
        seated_ = &where;
        joined_.store(1, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t items_in(std::uint64_t units) const noexcept;
    void cut_for_participants() noexcept;
    [[nodiscard]] std::uint64_t run_claimed(chunk_call& call, range units);
    [[nodiscard]] std::uint64_t run_from_segments(chunk_call& call, range units);
    [[nodiscard]] std::uint64_t run_items(chunk_call& call, index_range items);
    void run_chunk(chunk_call& call);
    // Or left an error of the interpreter's, whatever its status is.
    void chunk_failed(const chunk_call& call, int status, std::string_view escaped);
    [[nodiscard]] chunk_call as_one_chunk() const noexcept;
    void call_finish();
    // It found no place and nobody knows of it: the next attempt begins anew, whatever finish says of this
    // one.
    void forget_attempt();
    void raise(std::uint32_t why) noexcept;
    [[nodiscard]] bool stopped() const noexcept { return stop_.load(std::memory_order_relaxed) != 0; }
    [[nodiscard]] bool is_nested() const noexcept { return outer_ != nullptr; }
    [[nodiscard]] std::uint64_t ps_per_unit_before() const noexcept;
    [[nodiscard]] std::uint64_t known_ps_per_unit() const noexcept;

    void fired(cancel_reason reason) final;
    void stop_watching() noexcept;

    // Why the stop word is up.
    static constexpr std::uint32_t stop_failed = 1;
    static constexpr std::uint32_t stop_cancelled = 2;
    static constexpr std::uint32_t stop_timed_out = 3;
    static constexpr std::uint32_t stop_refused = 4;

    const ref<pool> home_;
    loomy_launch record_{};
    const loomy_run_fn run_;
    const loomy_kernel* const kernel_; // null of a nested loop
    const partition split_;
    const ends ends_;
    // Used by those who have claimed something. A worker that is about to join may find that the launch has
    // ended and this is gone, so what it has to know was read when the launch was made.
    cost_estimate* const cost_;
    segments segments_;             // written before it was submitted
    const std::uint64_t before_ps_; // per unit, in earlier launches; 0: unknown
    std::atomic<std::uint32_t> stop_{0};
    std::atomic<std::uint32_t> joined_{0}; // participants so far
    const frame* seated_ = nullptr;        // is the first of them; written before it was submitted
    std::atomic<std::uint64_t> units_run_{0};
    std::atomic<std::uint64_t> per_unit_ps_{0}; // as measured last
    std::atomic<bool> chunk_stopped_{false};    // a chunk returned LOOMY_CANCELLED
    bool prepared_ = false;
    std::atomic<bool> started_{false}; // a unit was claimed to be run
    std::int64_t started_ns_ = 0;      // and when; written by who claimed it, read at the end
    phase outcome_ = phase::done;      // written by who refuses it or ends it
    first_failure failure_;

    enum class watching : std::uint8_t { not_yet, on, off };
    std::atomic<watching> watching_{watching::not_yet};
    ref<cancel_token> token_; // written before watching_ becomes `on`

    // Loops inside the chunks of this one, which a stop must reach.
    void list_in_outer() noexcept;
    void unlist_from_outer() noexcept;
    launch* const outer_ = nullptr;
    std::mutex nested_lock_;
    launch* first_nested_ = nullptr; // guarded by nested_lock_, as are the links of those listed there
    launch* previous_nested_ = nullptr;
    launch* next_nested_ = nullptr;
};

// Prepares the kernel and puts the launch into the queue; `token`, which may be null, is watched from then
// on. Unless accepted, it has not been launched: try again, or let go of it. A launch without items, or whose
// kernel cannot be prepared, has ended when this returns. Throws std::bad_alloc and what cancel_token::add
// throws, the launch is stopped or was not made then.
[[nodiscard]] submitted launch_queued(pool& on, launch& what, const ref<cancel_token>& token = {});

// The same, and the calling thread takes part in it: on the slot it has, or on a free one; without any it
// leaves the launch to the queue. `env` is the thread's. What is known to be short is not queued at all.
// Accepted: wait for it (pool::wait) unless it has finished.
[[nodiscard]] submitted launch_sharing(pool& on, launch& what, worker_env& env,
                                       const ref<cancel_token>& token = {});

// fn over [begin, end) as a loop inside the chunk of `call`, on the calling thread and those that join. A
// loomy_status.
[[nodiscard]] int run_nested_loop(const loomy_call& call, std::int64_t begin, std::int64_t end,
                                  std::int64_t grain, loomy_range_fn fn, void* context);

// What kernels may ask of the host.
[[nodiscard]] const loomy_api& kernel_api() noexcept;

} // namespace loomy
